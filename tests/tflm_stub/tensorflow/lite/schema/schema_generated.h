/* Of TFLM's schema only what generated code uses. */
#ifndef TFLM_STUB_SCHEMA_H
#define TFLM_STUB_SCHEMA_H

#include "tensorflow/lite/micro/micro_interpreter.h"

namespace tflite {

inline const Model *GetModel(const void *) {
    static const Model model;
    return &model;
}

}  // namespace tflite

#endif
