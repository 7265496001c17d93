/* The network under TensorFlow Lite for Microcontrollers; see edgesep_tflm.h. */
#include "edgesep_tflm.h"

#include <cstring>
#include <new>

#include "edgesep_resolver.h"
#include "edgesep_status.h"
#include "model_data.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"

/* Where the arena lies, such as __attribute__((section(".npu_sram"))): the Ethos-U must reach it. */
#ifndef EDGESEP_ARENA_PLACE
#define EDGESEP_ARENA_PLACE
#endif

namespace {

alignas(16) uint8_t arena[EDGESEP_ARENA_BYTES] EDGESEP_ARENA_PLACE;
int8_t rings[EDGESEP_RINGS_BYTES];
uint32_t positions[EDGESEP_STATE_COUNT]; /* of the oldest column of each ring */

tflite::MicroInterpreter *interpreter = nullptr;

/* The bytes of an end of the graph, or null where it is not what the generator saw. */
int8_t *bytes_of(TfLiteTensor *tensor, size_t size) {
    const bool fits = tensor != nullptr && tensor->type == kTfLiteInt8 && tensor->bytes == size;
    return fits ? tensor->data.int8 : nullptr;
}

bool ends_fit() {
    if (bytes_of(interpreter->input(EDGESEP_FEATURES_INPUT), 2 * EDGESEP_MODEL_BANDS) == nullptr ||
        bytes_of(interpreter->output(EDGESEP_MASK_OUTPUT), EDGESEP_MODEL_BANDS) == nullptr) {
        return false;
    }
    for (const edgesep_state &state : edgesep_model_states) {
        if (bytes_of(interpreter->input(state.input), state.taps * state.column_bytes) == nullptr ||
            (state.output >= 0 && bytes_of(interpreter->output(static_cast<size_t>(state.output)),
                                           state.column_bytes) == nullptr)) {
            return false;
        }
    }
    return true;
}

/* The one interpreter. It lives as long as the program, so nothing is registered to destroy it. */
bool start() {
    alignas(tflite::MicroInterpreter) static uint8_t storage[sizeof(tflite::MicroInterpreter)];
    alignas(edgesep_resolver) static uint8_t resolver_storage[sizeof(edgesep_resolver)];
    const tflite::Model *model = tflite::GetModel(edgesep_model_data);
    if (model->version() != TFLITE_SCHEMA_VERSION) {
        return false;
    }
    edgesep_resolver *resolver = new (resolver_storage) edgesep_resolver;
    if (edgesep_add_operators(*resolver) != kTfLiteOk) {
        return false;
    }
    interpreter = new (storage) tflite::MicroInterpreter(model, *resolver, arena, sizeof arena);
    if (interpreter->AllocateTensors() == kTfLiteOk && ends_fit()) {
        return true;
    }
    interpreter = nullptr;
    return false;
}

/* Columns of the frames t - taps * dilation .. t - dilation, oldest first. */
void recall(const edgesep_state &state, uint32_t position, int8_t *taps) {
    const uint32_t columns = uint32_t{state.taps} * state.dilation;
    for (uint32_t k = 0; k < state.taps; k++) {
        const uint32_t column = (position + k * state.dilation) % columns;
        std::memcpy(taps + k * state.column_bytes,
                    rings + state.ring + column * state.column_bytes, state.column_bytes);
    }
}

/* The column of frame t takes the place of the oldest. */
void keep(const edgesep_state &state, uint32_t *position, const int8_t *column) {
    std::memcpy(rings + state.ring + *position * state.column_bytes, column, state.column_bytes);
    *position = (*position + 1) % (uint32_t{state.taps} * state.dilation);
}

}  // namespace

int edgesep_tflm_init(void) {
    static const bool started = start();
    if (!started) {
        return EDGESEP_BAD_NETWORK;
    }
    for (size_t i = 0; i < EDGESEP_STATE_COUNT; i++) {
        const edgesep_state &state = edgesep_model_states[i];
        std::memset(rings + state.ring, state.zero,
                    size_t{state.taps} * state.dilation * state.column_bytes);
        positions[i] = 0;
    }
    return EDGESEP_OK;
}

int edgesep_tflm_step(const int8_t *features, int8_t *mask) {
    if (interpreter == nullptr) {
        return EDGESEP_NOT_READY;
    }
    if (features == nullptr || mask == nullptr) {
        return EDGESEP_BAD_ARGUMENT;
    }
    /* Every input is written anew: TFLM lets other activations use their memory. */
    std::memcpy(interpreter->input(EDGESEP_FEATURES_INPUT)->data.int8, features,
                2 * EDGESEP_MODEL_BANDS);
    for (size_t i = 0; i < EDGESEP_STATE_COUNT; i++) {
        const edgesep_state &state = edgesep_model_states[i];
        recall(state, positions[i], interpreter->input(state.input)->data.int8);
    }
    if (interpreter->Invoke() != kTfLiteOk) {
        return EDGESEP_BAD_NETWORK;
    }
    for (size_t i = 0; i < EDGESEP_STATE_COUNT; i++) {
        const edgesep_state &state = edgesep_model_states[i];
        const int8_t *column =
            state.output < 0
                ? features
                : interpreter->output(static_cast<size_t>(state.output))->data.int8;
        keep(state, &positions[i], column);
    }
    std::memcpy(mask, interpreter->output(EDGESEP_MASK_OUTPUT)->data.int8, EDGESEP_MODEL_BANDS);
    return EDGESEP_OK;
}

size_t edgesep_tflm_arena_used(void) {
    return interpreter == nullptr ? 0 : interpreter->arena_used_bytes();
}
