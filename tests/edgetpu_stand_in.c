/* A stand-in for libedgetpu.so.1: an external delegate that the interpreter really loads, and no
 * accelerator behind it.
 *
 * The structures are declared by hand after TensorFlow Lite's public headers
 * tensorflow/lite/core/c/common.h and c_api_types.h (2.14 to 2.20, Apache-2.0), the two
 * tflite_plugin functions after tensorflow/lite/delegates/external/external_delegate_interface.h,
 * the edgetpu functions after libedgetpu's tflite/public/edgetpu_c.h. Only what is used is spelt
 * out, and the order of fields is fixed ("new values should be added only to the end").
 *
 * STAND_IN in the environment chooses how it behaves; STAND_IN_LOG names a file that it writes to
 * what happens to it. Of an operation "edgetpu-custom-op" it computes, for byte i of output k,
 * (sum of all input bytes) + i + 17 k modulo 256: nothing a CPU kernel would do by chance. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef enum { OK = 0, ERROR = 1 } TfLiteStatus;

typedef struct {
    int size;
    int data[];
} TfLiteIntArray;

typedef struct {
    int type;
    void *data;
    TfLiteIntArray *dims;
    struct {
        float scale;
        int32_t zero_point;
    } params;
    int allocation_type;
    size_t bytes;
    const void *allocation;
    const char *name;
    void *delegate;
    int buffer_handle;
    bool data_is_stale;
    bool is_variable;
    struct {
        int type;
        void *params;
    } quantization;
    void *sparsity;
    const TfLiteIntArray *dims_signature;
} TfLiteTensor;

typedef struct {
    TfLiteIntArray *inputs;
    TfLiteIntArray *outputs;
} TfLiteNode;

typedef struct TfLiteContext TfLiteContext;
typedef struct TfLiteDelegate TfLiteDelegate;

typedef struct {
    void *(*init)(TfLiteContext *, const char *, size_t);
    void (*free)(TfLiteContext *, void *);
    TfLiteStatus (*prepare)(TfLiteContext *, TfLiteNode *);
    TfLiteStatus (*invoke)(TfLiteContext *, TfLiteNode *);
    const char *(*profiling_string)(const TfLiteContext *, const TfLiteNode *);
    int32_t builtin_code;
    const char *custom_name;
    int version;
    void *registration_external;
    void *(*async_kernel)(TfLiteContext *, TfLiteNode *);
    uint64_t inplace_operator;
} TfLiteRegistration;

struct TfLiteContext {
    size_t tensors_size;
    TfLiteStatus (*GetExecutionPlan)(TfLiteContext *, TfLiteIntArray **);
    TfLiteTensor *tensors;
    void *impl_;
    TfLiteStatus (*ResizeTensor)(TfLiteContext *, TfLiteTensor *, TfLiteIntArray *);
    void (*ReportError)(TfLiteContext *, const char *, ...);
    TfLiteStatus (*AddTensors)(TfLiteContext *, int, int *);
    TfLiteStatus (*GetNodeAndRegistration)(TfLiteContext *, int, TfLiteNode **,
                                           TfLiteRegistration **);
    TfLiteStatus (*ReplaceNodeSubsetsWithDelegateKernels)(TfLiteContext *, TfLiteRegistration,
                                                          const TfLiteIntArray *,
                                                          TfLiteDelegate *);
    /* more follows, and is not used */
};

struct TfLiteDelegate {
    void *data_;
    TfLiteStatus (*Prepare)(TfLiteContext *, TfLiteDelegate *);
    TfLiteStatus (*CopyFromBufferHandle)(TfLiteContext *, TfLiteDelegate *, int, TfLiteTensor *);
    TfLiteStatus (*CopyToBufferHandle)(TfLiteContext *, TfLiteDelegate *, int, TfLiteTensor *);
    void (*FreeBufferHandle)(TfLiteContext *, TfLiteDelegate *, int *);
    int64_t flags;
    void *opaque_delegate_builder;
};

static bool behaves(const char *how) {
    const char *chosen = getenv("STAND_IN");
    return chosen != NULL && strcmp(chosen, how) == 0;
}

static void crash(void) {
    volatile int *nowhere = (volatile int *)(uintptr_t)8;
    *nowhere = 1;
}

static void note(const char *what, const char *value) {
    const char *path = getenv("STAND_IN_LOG");
    FILE *file = path != NULL ? fopen(path, "a") : NULL;
    if (file != NULL) {
        fprintf(file, "%s %s\n", what, value);
        fclose(file);
    }
}

static void note_number(const char *what, int number) {
    char text[16];
    snprintf(text, sizeof text, "%d", number);
    note(what, text);
}

/* How often a delegate was asked for, in this process and those before it: from the log. */
static int times_created(void) {
    FILE *file = fopen(getenv("STAND_IN_LOG"), "r");
    char line[256];
    int times = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        times += strncmp(line, "create ", 7) == 0;
    }
    if (file != NULL) {
        fclose(file);
    }
    return times;
}

static int invocations = 0;

static TfLiteStatus kernel_prepare(TfLiteContext *context, TfLiteNode *node) {
    (void)context, (void)node;
    return OK;
}

static TfLiteStatus kernel_invoke(TfLiteContext *context, TfLiteNode *node) {
    if (behaves("crash_in_invoke")) {
        crash();
    }
    invocations += 1;
    if (behaves("unplugged") && invocations > 3) {
        context->ReportError(context, "the stand-in was unplugged");
        return ERROR;
    }
    unsigned sum = 0;
    for (int i = 0; i < node->inputs->size; i++) {
        const TfLiteTensor *tensor = &context->tensors[node->inputs->data[i]];
        for (size_t j = 0; j < tensor->bytes; j++) {
            sum += ((const uint8_t *)tensor->data)[j];
        }
    }
    for (int k = 0; k < node->outputs->size; k++) {
        const TfLiteTensor *tensor = &context->tensors[node->outputs->data[k]];
        for (size_t i = 0; i < tensor->bytes; i++) {
            ((uint8_t *)tensor->data)[i] = (uint8_t)(sum + i + 17u * (unsigned)k);
        }
    }
    return OK;
}

/* Take over the compiler's custom operation; leave all else to the CPU, as libedgetpu does. */
static TfLiteStatus prepare(TfLiteContext *context, TfLiteDelegate *delegate) {
    TfLiteIntArray *plan;
    if (context->GetExecutionPlan(context, &plan) != OK) {
        return ERROR;
    }
    note_number("prepare", plan->size);
    if (behaves("error_in_prepare")) {
        context->ReportError(context, "the stand-in cannot prepare this model");
        return ERROR;
    }
    if (behaves("crash_in_prepare")) {
        crash();
    }
    int found = -1;
    for (int i = 0; i < plan->size; i++) {
        TfLiteNode *node;
        TfLiteRegistration *registration;
        const int index = plan->data[i];
        if (context->GetNodeAndRegistration(context, index, &node, &registration) != OK) {
            return ERROR;
        }
        if (registration->custom_name != NULL &&
            strcmp(registration->custom_name, "edgetpu-custom-op") == 0) {
            found = index;
        }
    }
    if (found < 0) {
        note("claimed", "nothing");
        return OK;
    }
    note_number("claimed", found);
    TfLiteRegistration kernel = {.prepare = kernel_prepare,
                                 .invoke = kernel_invoke,
                                 .custom_name = "StandInForEdgeTpu",
                                 .version = 1};
    struct {
        int size;
        int data[1];
    } nodes = {1, {found}};
    return context->ReplaceNodeSubsetsWithDelegateKernels(context, kernel,
                                                          (const TfLiteIntArray *)&nodes, delegate);
}

TfLiteDelegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count,
                                              void (*report_error)(const char *)) {
    note("create", count != 0 ? keys[0] : "without options");
    for (size_t i = 0; i < count; i++) {
        note(keys[i], values[i]);
    }
    if (behaves("crash")) {
        crash();
    }
    if (behaves("hang")) {
        pause();
    }
    if (behaves("chatter")) {
        printf("edgesep-probe: {\"stage\": cut off\nnot JSON\n");
    }
    if (behaves("busy") && times_created() == 2) {
        report_error("the stand-in is busy");
        return NULL;
    }
    if (behaves("refuse")) {
        report_error("the stand-in refuses");
        return NULL;
    }
    if (behaves("silent")) { /* libedgetpu says nothing when there is no device */
        return NULL;
    }
    invocations = 0;
    TfLiteDelegate *delegate = calloc(1, sizeof *delegate);
    delegate->Prepare = prepare;
    delegate->flags = 1; /* kTfLiteDelegateFlagsAllowDynamicTensors, as libedgetpu has it */
    return delegate;
}

void tflite_plugin_destroy_delegate(TfLiteDelegate *delegate) {
    note("destroy", delegate != NULL ? "a delegate" : "nothing");
    free(delegate);
}

struct edgetpu_device {
    int type;
    const char *path;
};

struct edgetpu_device *edgetpu_list_devices(size_t *count) {
    const char *path = getenv("STAND_IN_DEVICE");
    struct edgetpu_device *devices = path != NULL ? malloc(sizeof *devices) : NULL;
    *count = devices != NULL;
    if (devices != NULL) {
        *devices = (struct edgetpu_device){1, path};
    }
    return devices;
}

void edgetpu_free_devices(struct edgetpu_device *devices) { free(devices); }

const char *edgetpu_version(void) { return "stand-in, RuntimeVersion(0)"; }
