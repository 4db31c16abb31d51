/**
 * What all runs of training have in common: their settings, the loop over the steps, and what they
 * leave on disk so that they can be watched, resumed and told apart: checkpoints, metrics, settings
 * and a manifest. No file here is ever half-written under its name.
 */
@NullMarked
package io.llara.train.run;

import org.jspecify.annotations.NullMarked;
