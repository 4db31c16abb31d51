/** Adaptation on unlabelled text: EBAE and EBAR, their losses, and the run that minimises them. */
@NullMarked
package io.llara.train.pretrain;

import org.jspecify.annotations.NullMarked;
