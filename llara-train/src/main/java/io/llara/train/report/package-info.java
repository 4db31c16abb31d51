/** What a training run looks like to a person: its loss curves as a picture. */
@NullMarked
package io.llara.train.report;

import org.jspecify.annotations.NullMarked;
