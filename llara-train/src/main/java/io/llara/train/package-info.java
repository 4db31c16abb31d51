/** What all kinds of training have in common for those who watch one. */
@NullMarked
package io.llara.train;

import org.jspecify.annotations.NullMarked;
