/* The frame path around TFLM; see edgesep.h. */
#include "edgesep.h"

#include "edgesep_frontend.h"
#include "edgesep_tflm.h"

static edgesep_frontend *frontend;

size_t edgesep_memory_size(void) {
    return edgesep_frontend_size(&edgesep_model_contract);
}

int edgesep_init(void *memory, size_t size) {
    int status = edgesep_frontend_init(memory, size, &edgesep_model_contract);
    if (status == EDGESEP_OK) {
        status = edgesep_tflm_init();
    }
    frontend = status == EDGESEP_OK ? memory : NULL;
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
        status = edgesep_tflm_step(features, mask);
    }
    if (status == EDGESEP_OK) {
        status = edgesep_synthesise(frontend, mask, edgesep_model_gains_q15, out);
    }
    return status;
}
