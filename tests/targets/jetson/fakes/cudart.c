/* A libcudart without a GPU: memory is the host's, a stream is done at once, events hold the clock.
 *
 * It checks what CUDA would: directions of copies, handles, double frees. FAKE_GPU, FAKE_CC and FAKE_DEVICES set the
 * device; FAKE_CUDA_FAIL="cudaMalloc=2" fails a function; FAKE_LEDGER names a file for what was not given back.
 * With -DPROPERTIES_V2 it exports cudaGetDeviceProperties_v2 too, as CUDA 12 does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { HOST = 1, DEVICE, STREAM, EVENT, LIMIT = 4096 };
static struct { void *at; size_t size; int kind; } held[LIMIT];

static int failing(const char *name) {
    const char *wanted = getenv("FAKE_CUDA_FAIL");
    size_t length = strlen(name);
    if (wanted && strncmp(wanted, name, length) == 0 && wanted[length] == '=') return atoi(wanted + length + 1);
    return 0;
}

static int hold(void **out, size_t size, int kind) {
    for (int i = 0; i < LIMIT; i++)
        if (!held[i].at) {
            held[i].at = calloc(1, size ? size : 1);
            held[i].size = size;
            held[i].kind = kind;
            *out = held[i].at;
            return 0;
        }
    return 2;
}

static int release(void *at, int kind) {
    for (int i = 0; i < LIMIT; i++)
        if (held[i].at == at && held[i].kind == kind) {
            free(at);
            held[i].at = NULL;
            return 0;
        }
    return 1;
}

static int is(const void *at, size_t size, int kind) {
    for (int i = 0; i < LIMIT; i++)
        if (held[i].at == at && held[i].kind == kind && size <= held[i].size) return 1;
    return 0;
}

__attribute__((destructor)) static void ledger(void) {
    const char *path = getenv("FAKE_LEDGER");
    int count = 0;
    for (int i = 0; i < LIMIT; i++) count += held[i].at != NULL;
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) {
        fprintf(file, "%d\n", count);
        fclose(file);
    }
}

const char *cudaGetErrorString(int code) {
    return code == 2 ? "out of memory" : code == 35 ? "CUDA driver version is insufficient for CUDA runtime version"
         : code == 100 ? "no CUDA-capable device is detected" : "an error";
}

int cudaGetDeviceCount(int *count) {
    const char *given = getenv("FAKE_DEVICES");
    *count = given ? atoi(given) : 1;
    return failing("cudaGetDeviceCount");
}

int cudaDeviceGetAttribute(int *value, int attribute, int device) {
    const char *given = getenv("FAKE_CC");
    int major = 8, minor = 7;
    if (given) sscanf(given, "%d.%d", &major, &minor);
    if (device != 0 || (attribute != 75 && attribute != 76)) return 1;
    *value = attribute == 75 ? major : minor;
    return 0;
}

int cudaGetDeviceProperties(void *properties, int device) {
    const char *given = getenv("FAKE_GPU");
    if (device != 0) return 101;
    memset(properties, 7, 1032);
    strcpy(properties, given ? given : "Orin");
    return 0;
}
#ifdef PROPERTIES_V2
int cudaGetDeviceProperties_v2(void *properties, int device) { return cudaGetDeviceProperties(properties, device); }
#endif

int cudaMemGetInfo(size_t *free_bytes, size_t *total) {
    *free_bytes = 4ull << 30;
    *total = 8ull << 30;
    return 0;
}

int cudaRuntimeGetVersion(int *version) { *version = 12060; return 0; }
int cudaDriverGetVersion(int *version) { *version = 12060; return 0; }

int cudaMalloc(void **out, size_t size) {
    int code = failing("cudaMalloc");
    return code ? code : hold(out, size, DEVICE);
}
int cudaFree(void *at) { return release(at, DEVICE); }
int cudaMallocHost(void **out, size_t size) { return hold(out, size, HOST); }
int cudaFreeHost(void *at) { return release(at, HOST); }

int cudaMemcpyAsync(void *to, const void *from, size_t size, int direction, void *stream) {
    if (!is(stream, 0, STREAM)) return 400;
    if (direction == 1 ? !is(to, size, DEVICE) || !is(from, size, HOST) : !is(to, size, HOST) || !is(from, size, DEVICE))
        return 21;
    memcpy(to, from, size);
    return 0;
}

int cudaStreamCreate(void **out) { return hold(out, 8, STREAM); }
int cudaStreamSynchronize(void *stream) { return is(stream, 0, STREAM) ? 0 : 400; }
int cudaStreamDestroy(void *stream) { return release(stream, STREAM); }

int cudaEventCreate(void **out) { return hold(out, sizeof(struct timespec), EVENT); }
int cudaEventRecord(void *event, void *stream) {
    if (!is(event, 0, EVENT) || !is(stream, 0, STREAM)) return 400;
    return clock_gettime(CLOCK_MONOTONIC, event);
}
int cudaEventElapsedTime(float *ms, void *start, void *end) {
    struct timespec *a = start, *b = end;
    if (!is(start, 0, EVENT) || !is(end, 0, EVENT)) return 400;
    *ms = (float)(1e3 * (double)(b->tv_sec - a->tv_sec) + 1e-6 * (double)(b->tv_nsec - a->tv_nsec));
    return 0;
}
int cudaEventDestroy(void *event) { return release(event, EVENT); }
