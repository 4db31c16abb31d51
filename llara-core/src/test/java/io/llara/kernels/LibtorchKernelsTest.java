package io.llara.kernels;

import java.util.List;

class LibtorchKernelsTest extends KernelsContract {

  /** Without a matrix unit other kernels are called; they work with one too. */
  @Override
  List<Kernels> kernels() {
    return List.of(new LibtorchKernels(true), new LibtorchKernels(false));
  }
}
