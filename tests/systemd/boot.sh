#!/bin/bash
# Boot a systemd in namespaces of its own, on a copy-on-write view of this machine's files.
#
# Prints the process id of the new systemd. When our standard input is closed, which also happens when the caller is
# killed, all processes are ended and all mounts and cgroups removed.
set -euo pipefail

# Print where the cgroup hierarchy of version 2 is mounted.
unified_hierarchy() {
    findmnt --raw --noheadings --types cgroup2 --output TARGET --first-only
}

# Print the hierarchies to boot on. Version 2 alone is enough, and systemd 258 and later refuse version 1. A machine
# that has only version 1 can still boot an older systemd.
hierarchies() {
    unified_hierarchy || findmnt --raw --noheadings --types cgroup --output TARGET | sort --unique
}

make_cgroups() {
    local hierarchy
    for hierarchy in $(hierarchies); do
        mkdir "$hierarchy/$cgroup"
    done
}

# The kernel takes a moment to see that a cgroup's last process has ended.
remove_cgroups() {
    local hierarchy
    for hierarchy in $(hierarchies); do
        for _ in {1..200}; do
            find "$hierarchy/$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null && break
            sleep 0.05
        done
        if [ -d "$hierarchy/$cgroup" ]; then
            echo "$hierarchy/$cgroup is left over" >&2
            return 1
        fi
    done
}

# --- What follows runs in process 1 of the new namespaces ---

# A hierarchy that has to be set up before a process can enter it (cpuset of version 1) is not needed by systemd.
enter_cgroups() {
    local hierarchy
    for hierarchy in $(hierarchies); do
        { echo 0 >"$hierarchy/$cgroup/cgroup.procs"; } 2>/dev/null || :
    done
}

mount_files() {
    mount -t tmpfs -o mode=755 tmpfs "$directory"
    mkdir "$directory"/{written,work,root}
    mount -t overlay -o "lowerdir=/,upperdir=$directory/written,workdir=$directory/work" overlay "$root"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    mount -t tmpfs -o mode=1777 tmpfs "$root/var/tmp"
}

# /sys and /proc/sys are mounted read-only, since they would change the real machine.
mount_kernel() {
    mount -t proc proc "$root/proc"
    mount --bind "$root/proc/sys" "$root/proc/sys"
    mount -o remount,bind,ro "$root/proc/sys"
    mount -t sysfs -o ro sysfs "$root/sys"
}

mount_cgroups() {
    local hierarchy
    if hierarchy=$(unified_hierarchy); then
        mount --bind "$hierarchy/$cgroup" "$root/sys/fs/cgroup"
        return
    fi
    mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
    for hierarchy in $(hierarchies); do
        mkdir -p "$root$hierarchy"
        mount --bind "$hierarchy/$cgroup" "$root$hierarchy"
    done
}

mount_devices() {
    mount -t tmpfs -o mode=755 tmpfs "$root/dev"
    mkdir "$root"/dev/{pts,shm}
    cp --archive /dev/{null,zero,full,random,urandom,tty} "$root/dev"
    ln -s pts/ptmx "$root/dev/ptmx"
}

# Let systemd start nothing but the journal, whatever is installed here.
hide_units() {
    local system=$root/lib/systemd
    for hidden in "$root/etc/systemd/system" "$system"/system-generators \
        "$system"/system/{sysinit,sockets,timers}.target.wants; do
        mount -t tmpfs -o mode=755 tmpfs "$hidden"
    done
    ln -s "../systemd-journald.service" "$system/system/sysinit.target.wants/systemd-journald.service"
    mkdir -p "$root/run/systemd/journald.conf.d"
    printf '[Journal]\nStorage=volatile\n' >"$root/run/systemd/journald.conf.d/test.conf"
    echo 6863686f646563686f64686563686f64 >"$root/etc/machine-id"
}

become_systemd() {
    local pid
    read -r pid _ </proc/self/stat  # /proc is still that of the real machine, so this is not 1
    enter_cgroups
    mount_files
    mount_kernel
    mount_cgroups
    mount_devices
    hide_units
    mount --make-rshared "$root"  # for credentials; systemd does this itself, except in a container
    # As switch_root does, since not every release has the command pivot_root.
    cd "$root"
    mount --move . /
    echo "$pid"
    # It must not load modules into the kernel or set the clock, which are those of the real machine.
    exec chroot . unshare --cgroup setpriv --bounding-set=-sys_module,-sys_time \
        env -i container=custom PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --system --unit=basic.target </dev/null >/dev/null 2>&1
}

# Boot, then wait for the end of our standard input, and clean up.
boot_and_hold() {
    local launcher
    directory=$(mktemp --directory --tmpdir h2echod-machine-XXXXXX)
    cgroup=${directory##*/}
    make_cgroups
    unshare --fork --kill-child --pid --mount --uts --ipc --net "$0" "$directory" "$cgroup" </dev/null &
    launcher=$!
    exec >/dev/null
    cat
    { kill -KILL "$launcher"; wait "$launcher"; } 2>/dev/null || :
    rmdir "$directory"
    remove_cgroups
}

if [ $# = 0 ]; then
    boot_and_hold
else
    directory=$1
    cgroup=$2
    root=$directory/root
    become_systemd
fi
