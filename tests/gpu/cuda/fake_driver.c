/* A stand-in for the CUDA driver: it writes down what it is asked for, and can be told to fail. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static FILE* log_file(void) {
    static FILE* file;
    if (!file) file = fopen(getenv("FAKE_DRIVER_LOG"), "a");
    return file;
}

static int said(const char* text) {
    fprintf(log_file(), "%s\n", text);
    fflush(log_file());
    const char* failing = getenv("FAKE_DRIVER_FAILS");
    return failing && strncmp(text, failing, strlen(failing)) == 0 ? 719 : 0;
}

int cuInit(unsigned flags) { return said(flags ? "cuInit with flags" : "cuInit"); }

int cuDeviceGet(int* device, int number) {
    *device = number + 40;
    return said("cuDeviceGet");
}

int cuDeviceGetAttribute(int* value, int attribute, int device) {
    if (device != 42) return 101;
    *value = attribute == 75 ? 8 : attribute == 76 ? 6 : -1;
    return said("cuDeviceGetAttribute");
}

int cuModuleLoadData(void** module, const char* code) {
    *module = (void*)0x1000;
    return said(code[0] == 0x7f && memcmp(code + 1, "ELF", 3) == 0 ? "cuModuleLoadData ELF" : "cuModuleLoadData ?");
}

int cuModuleGetFunction(void** function, void* module, const char* name) {
    char text[99];
    if (module != (void*)0x1000) return 400;
    *function = (void*)0x2000;
    snprintf(text, sizeof text, "cuModuleGetFunction %s", name);
    return said(text);
}

int cuFuncSetAttribute(void* function, int attribute, int value) {
    char text[99];
    if (function != (void*)0x2000) return 400;
    snprintf(text, sizeof text, "cuFuncSetAttribute %d %d", attribute, value);
    return said(text);
}

int cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned z, unsigned threads, unsigned threads_y,
                   unsigned threads_z, unsigned shared, void* stream, void** arguments, void** extra) {
    char text[199];
    if (function != (void*)0x2000 || extra) return 400;
    /* The test passes a pointer, an int32 and an int64. */
    snprintf(text, sizeof text, "cuLaunchKernel %u %u %u, %u %u %u, %u, %p, %p %d %lld", x, y, z, threads, threads_y,
             threads_z, shared, stream, *(void**)arguments[0], *(int*)arguments[1], *(long long*)arguments[2]);
    return said(text);
}

int cuGetErrorString(int status, const char** text) {
    *text = status == 719 ? "unspecified launch failure" : "invalid handle";
    return 0;
}
