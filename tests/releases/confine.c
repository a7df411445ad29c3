/*
 * Runs a command as an unprivileged container does: with the capabilities that Docker leaves to
 * root, no new privileges, and the system calls refused that Docker's default seccomp profile
 * refuses.
 *
 *     confine COMMAND [ARGUMENT...]
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#error "the filter is written for x86-64 and AArch64"
#endif

#define LOAD(member) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, member))
#define LOAD_ARGUMENT(index)                                                                       \
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[index]))
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)
#define REFUSE(number, error)                                                                      \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1), RETURN(SECCOMP_RET_ERRNO | (error))
#define PERSONALITY(value)                                                                         \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1), RETURN(SECCOMP_RET_ALLOW)

static const uint32_t namespaces = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                                   CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP;

static const int kept_capabilities[] = {
    CAP_CHOWN,   CAP_DAC_OVERRIDE, CAP_FSETID,           CAP_FOWNER,
    CAP_MKNOD,   CAP_NET_RAW,      CAP_SETGID,           CAP_SETUID,
    CAP_SETFCAP, CAP_SETPCAP,      CAP_NET_BIND_SERVICE, CAP_SYS_CHROOT,
    CAP_KILL,    CAP_AUDIT_WRITE};

static const struct sock_filter filter[] = {
    LOAD(arch),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
    RETURN(SECCOMP_RET_KILL_PROCESS),
    LOAD(nr),
    REFUSE(SYS_clone3, ENOSYS),
    REFUSE(SYS_acct, EPERM),
    REFUSE(SYS_add_key, EPERM),
    REFUSE(SYS_bpf, EPERM),
    REFUSE(SYS_clock_settime, EPERM),
    REFUSE(SYS_delete_module, EPERM),
    REFUSE(SYS_finit_module, EPERM),
    REFUSE(SYS_init_module, EPERM),
    REFUSE(SYS_io_uring_enter, EPERM),
    REFUSE(SYS_io_uring_register, EPERM),
    REFUSE(SYS_io_uring_setup, EPERM),
    REFUSE(SYS_kexec_load, EPERM),
    REFUSE(SYS_keyctl, EPERM),
    REFUSE(SYS_mbind, EPERM),
    REFUSE(SYS_mount, EPERM),
    REFUSE(SYS_move_pages, EPERM),
    REFUSE(SYS_open_by_handle_at, EPERM),
    REFUSE(SYS_perf_event_open, EPERM),
    REFUSE(SYS_pivot_root, EPERM),
    REFUSE(SYS_quotactl, EPERM),
    REFUSE(SYS_reboot, EPERM),
    REFUSE(SYS_request_key, EPERM),
    REFUSE(SYS_set_mempolicy, EPERM),
    REFUSE(SYS_setns, EPERM),
    REFUSE(SYS_settimeofday, EPERM),
    REFUSE(SYS_swapoff, EPERM),
    REFUSE(SYS_swapon, EPERM),
    REFUSE(SYS_umount2, EPERM),
    REFUSE(SYS_unshare, EPERM),
    REFUSE(SYS_userfaultfd, EPERM),
    /* clone: not with a new namespace */
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4),
    LOAD_ARGUMENT(0),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, namespaces, 0, 1),
    RETURN(SECCOMP_RET_ERRNO | EPERM),
    RETURN(SECCOMP_RET_ALLOW),
    /* personality: only these values, so not ADDR_NO_RANDOMIZE */
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_personality, 0, 12),
    LOAD_ARGUMENT(0),
    PERSONALITY(0x0),
    PERSONALITY(0x8),
    PERSONALITY(0x20000),
    PERSONALITY(0x20008),
    PERSONALITY(0xffffffff),
    RETURN(SECCOMP_RET_ERRNO | EPERM),
    RETURN(SECCOMP_RET_ALLOW),
};

static int is_kept(int capability)
{
    for (size_t i = 0; i < sizeof(kept_capabilities) / sizeof(kept_capabilities[0]); i++) {
        if (kept_capabilities[i] == capability)
            return 1;
    }
    return 0;
}

/* Remove the other capabilities from the bounding set, so that execve drops them, also for root. */
static int drop_capabilities(void)
{
    for (int capability = 0; capability <= CAP_LAST_CAP; capability++) {
        if (!is_kept(capability) && prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 &&
            errno != EINVAL)
            return -1;
    }
    return 0;
}

int main(int argc, char *argv[])
{
    const struct sock_fprog program = {sizeof(filter) / sizeof(filter[0]),
                                       (struct sock_filter *)filter};

    if (argc < 2) {
        fprintf(stderr, "usage: %s COMMAND [ARGUMENT...]\n", argv[0]);
        return EXIT_FAILURE;
    }
    if (drop_capabilities() != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
        perror(argv[0]);
        return EXIT_FAILURE;
    }
    execvp(argv[1], argv + 1);
    perror(argv[1]);
    return EXIT_FAILURE;
}
