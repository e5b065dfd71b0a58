/* A libnvidia-ml.so.1 that answers as the machine named by FAKE_NVML_MACHINE.

   FAKE_NVML_INIT    error number of nvmlInitWithFlags
   FAKE_NVML_DEVICE  error number of every call about a device
   FAKE_NVML_HANDLE  error number of the handle of the last GPU
   FAKE_NVML_HANG    a function's name, which then never returns
   FAKE_NVML_CRASH   the same, which then dies by SIGSEGV
   FAKE_NVML_COUNT   how many of the machine's GPUs there are */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7 };

#define GIB (1024ULL * 1024 * 1024)
#define MIB (1024ULL * 1024)

typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; } Pci;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } Process;
typedef struct { unsigned version; unsigned char cluster[16]; int status; unsigned clique; unsigned char state; unsigned health; } Fabric;

typedef struct {
    const char *machine, *name, *driver;
    int count, cuda, major, minor;
    unsigned long long total;
    int ecc;    /* -1: not supported */
    int mig;    /* -1: not supported */
    int fabric; /* 0: on no fabric */
    int processes;
    const char *odd; /* another model as the first GPU */
} Machine;

static const Machine MACHINES[] = {
    {"h200", "NVIDIA H200", "570.86.15", 1, 12080, 9, 0, 141 * GIB, 1, 0, 0, 2, NULL},
    {"hgx", "NVIDIA H100 80GB HBM3", "550.54.15", 8, 12040, 9, 0, 80 * GIB, 1, 0, 2, 0, NULL},
    {"hgx-ready", "NVIDIA H100 80GB HBM3", "550.54.15", 8, 12040, 9, 0, 80 * GIB, 1, 0, 3, 0, NULL},
    {"rtx5090", "NVIDIA GeForce RTX 5090", "575.57.08", 1, 12090, 12, 0, 32 * GIB, -1, -1, 0, 1, NULL},
    {"t4", "Tesla T4", "535.183.01", 1, 12020, 7, 5, 15 * GIB, 1, -1, 0, 0, NULL},
    {"mig", "NVIDIA A100-SXM4-80GB", "550.54.15", 1, 12040, 8, 0, 80 * GIB, 1, 1, 0, 0, NULL},
    {"gb10", "NVIDIA GB10", "580.95.05", 1, 13000, 12, 1, 0, -1, -1, 0, 0, NULL},
    {"mixed", "NVIDIA GeForce RTX 4090", "560.35.03", 2, 12060, 8, 9, 24 * GIB, -1, -1, 0, 0, "Quadro P1000"},
};

static int asked(const char *variable, const char *function) {
    const char *value = getenv(variable);
    return value && strcmp(value, function) == 0;
}

static int number(const char *variable) {
    const char *value = getenv(variable);
    return value ? atoi(value) : 0;
}

static const Machine *machine(void) {
    const char *wanted = getenv("FAKE_NVML_MACHINE");
    for (size_t i = 0; i < sizeof MACHINES / sizeof *MACHINES; i++)
        if (wanted && strcmp(MACHINES[i].machine, wanted) == 0) return &MACHINES[i];
    return &MACHINES[0];
}

static int gpus(void) { return getenv("FAKE_NVML_COUNT") ? number("FAKE_NVML_COUNT") : machine()->count; }

static void misbehave(const char *function) {
    while (asked("FAKE_NVML_HANG", function)) pause();
    if (asked("FAKE_NVML_CRASH", function)) raise(SIGSEGV);
}

#define BEGIN misbehave(__func__)
#define DEVICE BEGIN; if (number("FAKE_NVML_DEVICE")) return number("FAKE_NVML_DEVICE")

/* A handle is 1 + the GPU's index, or 100 + a MIG slice's index; the first GPU of a mixed machine is the odd one. */
static int is_slice(const void *handle) { return (long)handle >= 100; }
static int is_odd(const void *handle) { return machine()->odd && (long)handle == 1; }

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    BEGIN;
    puts("a library that prints to stdout must not spoil the answer");
    fflush(stdout);
    return number("FAKE_NVML_INIT");
}

int nvmlSystemGetDriverVersion(char *text, unsigned size) {
    BEGIN;
    if (number("FAKE_NVML_INIT")) return UNINITIALIZED;
    snprintf(text, size, "%s", machine()->driver);
    return OK;
}

int nvmlSystemGetNVMLVersion(char *text, unsigned size) {
    BEGIN;
    snprintf(text, size, "12.%s", machine()->driver);
    return OK;
}

int nvmlSystemGetCudaDriverVersion_v2(int *version) {
    BEGIN;
    *version = machine()->cuda;
    return OK;
}

int nvmlDeviceGetCount_v2(unsigned *count) {
    BEGIN;
    if (number("FAKE_NVML_INIT")) return UNINITIALIZED;
    *count = (unsigned)gpus();
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    BEGIN;
    if (index >= (unsigned)gpus()) return INVALID;
    if (number("FAKE_NVML_HANDLE") && index == (unsigned)gpus() - 1) return number("FAKE_NVML_HANDLE");
    *handle = (void *)(long)(index + 1);
    return OK;
}

int nvmlDeviceGetName(void *handle, char *text, unsigned size) {
    DEVICE;
    const char *name = is_odd(handle) ? machine()->odd : machine()->name;
    snprintf(text, size, "%s%s", name, is_slice(handle) ? " MIG 1g.10gb" : "");
    return OK;
}

int nvmlDeviceGetUUID(void *handle, char *text, unsigned size) {
    DEVICE;
    const char *kind = is_slice(handle) ? "MIG" : "GPU";
    snprintf(text, size, "%s-%08lx-1111-2222-3333-444444444444", kind, 0xaa000000UL + (unsigned long)handle);
    return OK;
}

int nvmlDeviceGetPciInfo_v3(void *handle, Pci *info) {
    DEVICE;
    memset(info, 0, sizeof *info);
    info->bus = (unsigned)(long)handle;
    snprintf(info->bus_id, sizeof info->bus_id, "00000000:%02X:00.0", info->bus);
    return OK;
}

int nvmlDeviceGetMemoryInfo(void *handle, Memory *memory) {
    DEVICE;
    unsigned long long total = is_slice(handle) ? 10 * GIB : machine()->total;
    if (!total) return NOT_SUPPORTED;
    memory->total = total;
    memory->used = 512 * MIB;
    memory->free = total - memory->used;
    return OK;
}

int nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
    DEVICE;
    *major = is_odd(handle) ? 6 : machine()->major;
    *minor = is_odd(handle) ? 1 : machine()->minor;
    return OK;
}

int nvmlDeviceGetEccMode(void *handle, int *current, int *pending) {
    (void)handle;
    DEVICE;
    if (machine()->ecc < 0) return NOT_SUPPORTED;
    *current = *pending = machine()->ecc;
    return OK;
}

int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending) {
    (void)handle;
    DEVICE;
    if (machine()->mig < 0) return NOT_SUPPORTED;
    *current = *pending = (unsigned)machine()->mig;
    return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *count) {
    (void)handle;
    DEVICE;
    *count = 7;
    return OK;
}

/* Slices 0 and 2 exist: the real numbering has gaps too. */
int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **slice) {
    (void)handle;
    DEVICE;
    if (index != 0 && index != 2) return NOT_FOUND;
    *slice = (void *)(long)(100 + index);
    return OK;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, Process *list) {
    (void)handle;
    DEVICE;
    unsigned room = *count, there = (unsigned)machine()->processes;
    *count = there;
    if (room < there) return TOO_SMALL;
    for (unsigned i = 0; i < there; i++) list[i] = (Process){4000 + i, i ? ~0ULL : 7 * GIB, 0, 0};
    return OK;
}

#ifndef WITHOUT_FABRIC
int nvmlDeviceGetGpuFabricInfoV(void *handle, Fabric *fabric) {
    (void)handle;
    DEVICE;
    fabric->status = OK;
    fabric->state = (unsigned char)machine()->fabric;
    return OK;
}
#endif
