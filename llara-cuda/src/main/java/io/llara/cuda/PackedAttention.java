package io.llara.cuda;

import java.util.Arrays;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Dispatcher;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.OperatorHandleOptional;
import org.bytedeco.pytorch.OperatorName;
import org.bytedeco.pytorch.Tensor;

/** Attention within sequences of different lengths that lie one after the other. Thread-safe. */
interface PackedAttention {
  /** Returns its name, for people. */
  String name();

  /** Returns whether it can be used for queries, {@code [queries, heads, headDim]}. */
  boolean suits(Tensor q);

  /**
   * Attends, as {@link io.llara.kernels.Kernels#attention}; the result belongs to the caller's
   * innermost scope.
   *
   * @param q {@code [queries, heads, headDim]}
   * @param k {@code [keys, kvHeads, headDim]}
   * @param v {@code [keys, kvHeads, headDim]}
   * @return {@code [queries, heads, headDim]}
   */
  Tensor apply(Tensor q, Tensor k, Tensor v, PackedSequences sequences);

  /**
   * Returns how many arguments an operator of libtorch's has, 0 if there is none: other versions
   * append some.
   */
  static int declaredArguments(String operator) {
    try (PointerScope scope = new PointerScope();
        OperatorName name = new OperatorName(operator, "")) {
      OperatorHandleOptional found = Dispatcher.singleton().findSchema(name);
      return found.has_value() ? Math.toIntExact(found.get().schema().arguments().capacity()) : 0;
    }
  }

  /** Returns arguments and, for those that a later version appended, nothing. */
  static IValue[] complete(IValue[] known, int declared) {
    IValue[] all = Arrays.copyOf(known, declared);
    for (int i = known.length; i < declared; i++) {
      all[i] = new IValue();
    }
    return all;
  }

  /** The factor of scores. */
  static double scale(Tensor q) {
    return 1 / Math.sqrt(q.size(2));
  }
}
