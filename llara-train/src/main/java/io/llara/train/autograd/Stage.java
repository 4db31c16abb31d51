package io.llara.train.autograd;

import java.util.List;
import org.bytedeco.pytorch.Tensor;

/**
 * A part of a computation, one tensor in and one out. Run again with the same input it must give
 * the same output, random numbers included.
 */
public interface Stage {

  /** Computes; what it needs beside the input is its own. The result is the caller's. */
  Tensor run(Tensor input);

  /** Returns the parameters it uses, which no other stage of the computation does. */
  List<Parameter> parameters();
}
