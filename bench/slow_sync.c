/* A disk whose sync takes SLOW_SYNC_US longer, by LD_PRELOAD: what group commit gains depends on the disk, and this machine's may be quick. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

static void wait_longer(void) {
    const char *us = getenv("SLOW_SYNC_US");
    usleep(us ? atoi(us) : 0);
}

int fsync(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    wait_longer();
    return real(file);
}

int fdatasync(int file) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    wait_longer();
    return real(file);
}
