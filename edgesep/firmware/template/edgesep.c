/* The frame path on a board; see edgesep.h. */
#include "edgesep.h"

#include "edgesep_frontend.h"
#include "edgesep_network.h"

static edgesep_frontend *frontend;
static edgesep_stream *stream;

static size_t aligned(size_t bytes) {
    return (bytes + 15) / 16 * 16;
}

size_t edgesep_memory_size(void) {
    return aligned(edgesep_frontend_size(&edgesep_model_contract)) +
           edgesep_stream_size(&edgesep_model_network);
}

int edgesep_init(void *memory, size_t size) {
    const size_t front = aligned(edgesep_frontend_size(&edgesep_model_contract));
    if (memory == NULL || size < edgesep_memory_size()) {
        return EDGESEP_BAD_MEMORY;
    }
    uint8_t *bytes = memory;
    int status = edgesep_frontend_init(bytes, front, &edgesep_model_contract);
    if (status == EDGESEP_OK) {
        status = edgesep_stream_init(bytes + front, size - front, &edgesep_model_network);
    }
    frontend = memory;
    stream = (edgesep_stream *)(void *)(bytes + front);
    return status;
}

int edgesep_process(const int16_t *in, int16_t *out) {
    int8_t features[2 * EDGESEP_MODEL_BANDS];
    int8_t mask[EDGESEP_MODEL_BANDS];
    if (frontend == NULL) {
        return EDGESEP_NOT_READY;
    }
    int status = edgesep_analyse(frontend, in, features);
    if (status == EDGESEP_OK) {
        status = edgesep_stream_step(stream, features, mask);
    }
    if (status == EDGESEP_OK) {
        status = edgesep_synthesise(frontend, mask, edgesep_model_gains_q15, out);
    }
    return status;
}
