/**
 * Golden folders: outputs of the reference implementation on small checkpoints (schema {@code
 * llara-golden-1}), and their replay through this library.
 */
@NullMarked
package io.llara.examples.golden;

import org.jspecify.annotations.NullMarked;
