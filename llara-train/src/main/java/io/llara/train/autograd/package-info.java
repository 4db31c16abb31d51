/**
 * Trained tensors and how their gradients come about: a computation is recorded and differentiated
 * stage by stage, so that memory and order are ours to decide.
 */
@Internal
@NullMarked
package io.llara.train.autograd;

import io.llara.Internal;
import org.jspecify.annotations.NullMarked;
