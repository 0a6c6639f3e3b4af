/* Adds FSYNC_DELAY_MILLISECONDS to each fsync and fdatasync of the program that preloads it (bench/slow_disk.py). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

static int after_the_delay(const char *name, int file) {
    const char *text = getenv("FSYNC_DELAY_MILLISECONDS");
    long milliseconds = text ? atol(text) : 0;
    struct timespec delay = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);

    nanosleep(&delay, NULL);
    return real(file);
}

int fsync(int file) { return after_the_delay("fsync", file); }
int fdatasync(int file) { return after_the_delay("fdatasync", file); }
