/**
 * What a training run leaves on disk, so that it can be watched, resumed and told apart from
 * others: checkpoints, metrics, settings and a manifest. No file here is ever half-written under
 * its name.
 */
@Internal
@NullMarked
package io.llara.train.run;

import io.llara.Internal;
import org.jspecify.annotations.NullMarked;
