package io.llara.cuda;

/** Runs the kernels of {@code kernels.cu}: on a GPU or, in tests, on the processor. Thread-safe. */
interface Launcher {
  /**
   * Starts a kernel on what the calling thread runs its operators on.
   *
   * @param kernel its name without the prefix, such as {@code norm_bf16}
   * @param blocks one for each row
   * @param threads of a block, a multiple of 32
   * @param arguments the fields of the kernel's struct, which are 8 bytes each
   */
  void launch(String kernel, long blocks, int threads, long[] arguments);
}
