#!/bin/bash
# Run a command in a fresh tree of a Debian release, with a copy of this checkout as its working directory.
#
#     tests/releases/run.sh trixie make deps check
#     tests/releases/run.sh --user sid make check              # as an ordinary user
#     tests/releases/run.sh --container bookworm make check    # as in an unprivileged container without /proc
#
# debootstrap makes the tree from the mirror that this machine's apt uses: minbase, git, make and ca-certificates.
# It is kept in build/releases/RELEASE for the next run; remove it to start with a fresh one.
# The exit status is the command's, or 75 (EX_TEMPFAIL) if the tree could not be fetched in three tries.
set -euo pipefail

readonly TRIES=3
readonly MIRROR_FAILED=75
readonly PACKAGES=git,make,ca-certificates

usage() {
    echo "usage: $0 [--user] [--container] RELEASE COMMAND [ARGUMENT...]" >&2
    exit 64
}

# Print the mirror that this machine's apt uses for Debian itself.
find_mirror() {
    # shellcheck disable=SC2016 # apt-get replaces these
    apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' 'Component: main' | head -n 1
}

# is_mirror_failure LOG: succeeds if debootstrap failed because a file could not be fetched, and for no other reason.
is_mirror_failure() {
    grep -qE "^E: (Failed getting release|Couldn't (download|retrieve|find))|^W: (Failure|Retrying failed)" "$1"
}

fetch_tree() {
    local mirror log=$tree.log
    mirror=$(find_mirror)
    if [ -z "$mirror" ]; then
        echo "$0: apt is not configured with a Debian mirror on this machine" >&2
        return 1
    fi
    mkdir -p "${tree%/*}"
    for ((try = 1; try <= TRIES; try++)); do
        rm -rf --one-file-system "$tree.new"
        if debootstrap --variant=minbase --include=$PACKAGES "$release" "$tree.new" "$mirror" >"$log" 2>&1; then
            # A mirror may be a snapshot, whose release file has expired. Its signature is still verified.
            echo 'Acquire::Check-Valid-Until "false";' >"$tree.new/etc/apt/apt.conf.d/99snapshot"
            mv "$tree.new" "$tree"
            return 0
        fi
        tail -n 3 "$log" >&2
        is_mirror_failure "$log" || return 1
    done
    return $MIRROR_FAILED
}

# Copy this clone: the files that git tracks or does not ignore, as they are now, and .git.
copy_checkout() {
    rm -rf --one-file-system "$tree/src/h2echod"
    mkdir -p "$tree/src/h2echod"
    { git ls-files -z --cached --others --exclude-standard; printf '.git\0'; } |
        tar --null --create --files-from=- --ignore-failed-read --warning=no-failed-read |
        tar --extract --no-same-owner --directory="$tree/src/h2echod"
}

add_user() {
    chroot "$tree" sh -c 'id builder >/dev/null 2>&1 || useradd --create-home --shell /bin/bash builder'
    chroot "$tree" chown -R builder: /src/h2echod
}

build_confine() {
    cc -O2 -static -o "$tree/src/confine" tests/releases/confine.c
}

# --- What follows runs in process 1 of the new namespaces ---

mount_devices() {
    mount -t tmpfs -o mode=755 tmpfs dev
    mkdir dev/pts dev/shm
    cp --archive /dev/{null,zero,full,random,urandom,tty} dev
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
    mount -t tmpfs -o mode=1777 tmpfs dev/shm
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
    ln -s fd/0 dev/stdin
    ln -s fd/1 dev/stdout
    ln -s fd/2 dev/stderr
}

# The cgroup hierarchies are those of the machine: a systemd that a test boots needs a cgroup there.
mount_kernel() {
    local hierarchy
    mount -t sysfs sysfs sys
    mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
    findmnt --raw --noheadings --types cgroup,cgroup2 --output TARGET | while read -r hierarchy; do
        mkdir -p "./$hierarchy"
        mount --bind "$hierarchy" "./$hierarchy"
    done
    mount -t proc proc proc
}

enter_tree() {
    mount --bind "$tree" "$tree"
    cd "$tree"
    mount_devices
    mount_kernel
    cp /etc/resolv.conf etc/resolv.conf
    hostname "$release"
    printf '127.0.0.1 localhost %s\n::1 localhost\n' "$release" >etc/hosts
    pivot_root . .
    umount --lazy .
    [ "$container" = 0 ] || umount --recursive /sys /proc
    cd /src/h2echod
}

run_in_tree() {
    local words=()
    enter_tree
    export HOME=/root LC_ALL=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    unset TMPDIR MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
    if [ "$user" = 1 ]; then
        export HOME=/home/builder
        words=(setpriv --reuid=builder --regid=builder --init-groups)
    fi
    [ "$container" = 0 ] || words=(/src/confine "${words[@]}")
    exec "${words[@]}" "$@"
}

main() {
    local status=0
    cd "$(dirname "$0")/../.."
    tree=$PWD/build/releases/$release
    if [ ! -d "$tree" ]; then
        fetch_tree || { status=$?; echo "$0: cannot fetch a tree of $release" >&2; exit $status; }
    fi
    copy_checkout
    [ "$user" = 0 ] || add_user
    [ "$container" = 0 ] || build_confine
    unshare --fork --kill-child --pid --mount --uts --ipc \
        "$0" --inside "$tree" "$release" "$user" "$container" "$@" || status=$?
    exit $status
}

user=0
container=0
if [ "${1:-}" = --inside ]; then
    tree=$2 release=$3 user=$4 container=$5
    shift 5
    run_in_tree "$@"
fi
while :; do
    case ${1:-} in
    --user) user=1 ;;
    --container) container=1 ;;
    -*) usage ;;
    *) break ;;
    esac
    shift
done
[ $# -ge 2 ] || usage
release=$1
shift
main "$@"
