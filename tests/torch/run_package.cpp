// Runs an AOTInductor package without Python: `run_package PACKAGE BATCH CHANNELS LENGTH` reads
// float32 numbers from standard input and writes those of the output to standard output.
#include <ATen/Functions.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

int main(int count, char** arguments) {
  if (count != 5) return 2;
  const long batch = std::atol(arguments[2]);
  const long channels = std::atol(arguments[3]);
  const long length = std::atol(arguments[4]);
  at::Tensor input = at::empty({batch, channels, length}, at::kFloat);
  if (std::fread(input.data_ptr(), sizeof(float), input.numel(), stdin) !=
      static_cast<std::size_t>(input.numel()))
    return 3;
  torch::inductor::AOTIModelPackageLoader package(arguments[1]);
  std::vector<at::Tensor> inputs{input};
  const at::Tensor output = package.run(inputs).at(0).contiguous();
  std::fwrite(output.data_ptr(), sizeof(float), output.numel(), stdout);
}
