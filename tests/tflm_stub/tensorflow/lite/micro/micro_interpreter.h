/* The part of TFLM's interface that generated code uses, with a network that is easy to repeat.
 *
 * stub_model.h, written by the test: STUB_INPUTS and STUB_OUTPUTS, their sizes in bytes. Byte j of
 * output o is j + sum over the inputs i of (i + 1) * input i [(7 j + o) modulo its size]. Inputs are
 * spoilt afterwards, as TFLM may do. */
#ifndef TFLM_STUB_INTERPRETER_H
#define TFLM_STUB_INTERPRETER_H

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "stub_model.h"

typedef enum { kTfLiteOk = 0, kTfLiteError = 1 } TfLiteStatus;
typedef enum { kTfLiteInt8 = 9 } TfLiteType;

struct TfLiteTensor {
    union {
        int8_t *int8;
    } data;
    TfLiteType type;
    size_t bytes;
};

#define TFLITE_SCHEMA_VERSION (3)

namespace tflite {

struct Model {
    int version() const {
        return TFLITE_SCHEMA_VERSION;
    }
};

class MicroOpResolver {
  public:
    unsigned registered = 0;
};

class MicroInterpreter {
  public:
    MicroInterpreter(const Model *, const MicroOpResolver &resolver, uint8_t *, size_t arena_bytes)
        : inputs_(tensors(STUB_INPUTS)), outputs_(tensors(STUB_OUTPUTS)), arena_bytes_(arena_bytes),
          operators_(resolver.registered) {}

    TfLiteStatus AllocateTensors() {
        return operators_ == STUB_OPERATORS && arena_bytes_ > 0 ? kTfLiteOk : kTfLiteError;
    }

    TfLiteTensor *input(size_t index) {
        return index < inputs_.size() ? &inputs_[index] : nullptr;
    }

    TfLiteTensor *output(size_t index) {
        return index < outputs_.size() ? &outputs_[index] : nullptr;
    }

    TfLiteStatus Invoke() {
        for (size_t o = 0; o < outputs_.size(); o++) {
            for (size_t j = 0; j < outputs_[o].bytes; j++) {
                long sum = static_cast<long>(j);
                for (size_t i = 0; i < inputs_.size(); i++) {
                    const size_t place = (7 * j + o) % inputs_[i].bytes;
                    sum += static_cast<long>(i + 1) * inputs_[i].data.int8[place];
                }
                outputs_[o].data.int8[j] = static_cast<int8_t>(static_cast<uint8_t>(sum & 255));
            }
        }
        for (TfLiteTensor &tensor : inputs_) {
            std::memset(tensor.data.int8, 0x55, tensor.bytes);
        }
        return kTfLiteOk;
    }

    size_t arena_used_bytes() const {
        return arena_bytes_ / 2;
    }

  private:
    static std::vector<TfLiteTensor> tensors(std::vector<size_t> sizes) {
        std::vector<TfLiteTensor> made;
        for (size_t size : sizes) {
            static std::vector<std::vector<int8_t>> kept;
            kept.emplace_back(size);
            TfLiteTensor tensor;
            tensor.data.int8 = kept.back().data();
            tensor.type = kTfLiteInt8;
            tensor.bytes = size;
            made.push_back(tensor);
        }
        return made;
    }

    std::vector<TfLiteTensor> inputs_, outputs_;
    size_t arena_bytes_;
    unsigned operators_;
};

}  // namespace tflite

#endif
