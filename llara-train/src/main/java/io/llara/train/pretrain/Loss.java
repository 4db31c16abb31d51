package io.llara.train.pretrain;

import io.llara.Internal;
import org.bytedeco.pytorch.Tensor;

/**
 * A loss and its gradient by the hidden states.
 *
 * @param sum over the rows or bags, not scaled
 * @param hiddenGradient {@code scale · ∂sum/∂hidden}, in the shape and type of the hidden states
 *     and of the scope that was open at the call
 */
@Internal
public record Loss(double sum, Tensor hiddenGradient) {}
