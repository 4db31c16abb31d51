package io.llara.train.autograd;

import java.util.List;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Tensor;

/**
 * A part of a computation, one tensor in and one out.
 *
 * @param function computes; what it needs beside the input is its own, the result is the caller's.
 *     Run again with the same input it must give the same output, random numbers included
 * @param parameters those it uses, which no other stage of the computation does
 */
public record Stage(UnaryOperator<Tensor> function, List<Parameter> parameters) {}
