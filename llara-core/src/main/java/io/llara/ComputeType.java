package io.llara;

/**
 * The number type in which the forward pass multiplies. Norms, softmax sums, pooling and
 * normalisation accumulate in float32 whatever it is.
 */
public enum ComputeType {
  /**
   * For encoding with a model whose layers and embedding matrix are stored in integers, {@link
   * #INT8} if there are kernels for it and no matrix unit (AMX); else {@link #BFLOAT16} where the
   * processor (AVX512_BF16, AMX, Arm BF16) or the GPU multiplies it natively; else {@link
   * #FLOAT32}.
   */
  AUTO,
  /** IEEE binary32. */
  FLOAT32,
  /**
   * The upper half of a float32. Works on every processor; without native support it is several
   * times slower than float32.
   */
  BFLOAT16,
  /**
   * Products of eight-bit integers, for encoding only: weights and activations are rounded by
   * groups of 32, everything between the products is float32. Needs the kernels of Linux on x86
   * with AVX2; with AVX512_VNNI or AVX_VNNI it is faster. Vectors differ from those of float32 a
   * little: see {@code docs/quantization.md}.
   */
  INT8,
  /**
   * IEEE binary16, on GPUs only: more digits than {@link #BFLOAT16}, but it ends at 65,504, which
   * hidden states of some models exceed.
   */
  FLOAT16,
  /**
   * Products of eight-bit floats (e4m3), for encoding on GPUs of compute capability 8.9 and newer:
   * weights and activations are rounded by rows, everything between the products is {@link
   * #BFLOAT16}. Weights of layers take half of its memory. Vectors differ a little: see {@code
   * docs/gpu.md}.
   */
  FLOAT8
}
