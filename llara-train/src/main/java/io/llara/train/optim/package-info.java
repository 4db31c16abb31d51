/** How trained tensors move: AdamW, clipping of gradients, and the learning rate over the steps. */
@Internal
@NullMarked
package io.llara.train.optim;

import io.llara.Internal;
import org.jspecify.annotations.NullMarked;
