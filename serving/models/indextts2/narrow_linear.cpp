// y = x W' + b for a few rows of float32 x and bfloat16 W, on the CPU.
//
// Decoding multiplies a handful of rows by every weight, so it is bound by reading the weights: storing them in
// bfloat16 halves that, and reading each once for all rows makes a batch nearly as fast as one row. The sums are
// float32.

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <cstdint>
#include <cstring>

namespace {

constexpr int LANES = 8;
typedef float floats __attribute__((vector_size(4 * LANES)));
typedef uint16_t halves __attribute__((vector_size(2 * LANES)));
typedef uint32_t words __attribute__((vector_size(4 * LANES)));

inline floats load(const float* at) {
  floats value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

inline floats widen(const uint16_t* at) {
  halves value;
  std::memcpy(&value, at, sizeof value);
  words shifted = __builtin_convertvector(value, words) << 16;
  floats wide;
  std::memcpy(&wide, &shifted, sizeof wide);
  return wide;
}

inline float total(floats value) {
  float sum = 0;
  for (int lane = 0; lane < LANES; ++lane) sum += value[lane];
  return sum;
}

// How far ahead of the sums the weights are fetched, in weights: four kilobytes, past what the hardware does.
constexpr int AHEAD = 2048;
constexpr int LINE = 32;

// Outputs first..last - 1 of ROWS rows. SUMS partial sums of each keep the adders busy.
template <int ROWS, int SUMS>
void multiply(const float* x, const uint16_t* weight, const float* bias, float* y, int64_t inputs, int64_t outputs,
              int64_t first, int64_t last) {
  for (int64_t out = first; out < last; ++out) {
    const uint16_t* from = weight + out * inputs;
    floats sums[ROWS][SUMS] = {};
    int64_t in = 0;
    for (; in + SUMS * LANES <= inputs; in += SUMS * LANES) {
      if (in % LINE == 0) __builtin_prefetch(from + in + AHEAD);
      for (int part = 0; part < SUMS; ++part) {
        const floats wide = widen(from + in + part * LANES);
        for (int row = 0; row < ROWS; ++row) sums[row][part] += load(x + row * inputs + in + part * LANES) * wide;
      }
    }
    for (; in < inputs; in += LANES) {
      const floats wide = widen(from + in);
      for (int row = 0; row < ROWS; ++row) sums[row][0] += load(x + row * inputs + in) * wide;
    }
    for (int row = 0; row < ROWS; ++row) {
      floats sum = sums[row][0];
      for (int part = 1; part < SUMS; ++part) sum += sums[row][part];
      y[row * outputs + out] = total(sum) + (bias ? bias[out] : 0.0f);
    }
  }
}

}  // namespace

at::Tensor narrow_linear(const at::Tensor& x, const at::Tensor& weight, const std::optional<at::Tensor>& bias) {
  TORCH_CHECK(x.dim() == 2 && x.is_contiguous() && x.scalar_type() == at::kFloat, "x must be float32 [R, K]");
  TORCH_CHECK(weight.dim() == 2 && weight.is_contiguous() && weight.scalar_type() == at::kBFloat16,
              "weight must be bfloat16 [N, K]");
  const int64_t rows = x.size(0), inputs = x.size(1), outputs = weight.size(0);
  TORCH_CHECK(weight.size(1) == inputs && inputs % LANES == 0, "K must agree and be a multiple of 8");
  auto y = at::empty({rows, outputs}, x.options());
  const float* from = x.data_ptr<float>();
  float* to = y.data_ptr<float>();
  const auto* weights = static_cast<const uint16_t*>(weight.data_ptr());
  const float* offset = bias.has_value() ? bias->data_ptr<float>() : nullptr;
  at::parallel_for(0, outputs, 64, [&](int64_t first, int64_t last) {
    for (int64_t row = 0; row < rows;) {
      const float* source = from + row * inputs;
      float* target = to + row * outputs;
      const int64_t left = rows - row;
      if (left >= 4) {
        multiply<4, 2>(source, weights, offset, target, inputs, outputs, first, last);
        row += 4;
      } else if (left >= 2) {
        multiply<2, 4>(source, weights, offset, target, inputs, outputs, first, last);
        row += 2;
      } else {
        multiply<1, 4>(source, weights, offset, target, inputs, outputs, first, last);
        row += 1;
      }
    }
  });
  return y;
}

TORCH_LIBRARY(indextts2_cpu, library) {
  library.def("narrow_linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor", &narrow_linear);
}
