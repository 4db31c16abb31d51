/**
 * Vectors of a teacher: files of them, by the text that each is of, and how they are made with an
 * encoder.
 */
@NullMarked
package io.llara.train.teacher;

import org.jspecify.annotations.NullMarked;
