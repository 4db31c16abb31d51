/** Settings of whole recipes of training by name. */
@NullMarked
package io.llara.train.preset;

import org.jspecify.annotations.NullMarked;
