package io.llara.examples.golden;

import java.util.Optional;

/**
 * How far one quantity of a case is from the float64 values of the reference.
 *
 * @param quantity its name in the golden file
 * @param difference how far it is; empty for what is equal or not, such as ids
 * @param criterion what was asked, such as {@code tolerance 1.0e-05}
 * @param strain how near the limit it came: above 1 is beyond it, 0 where nothing is judged
 * @param verdict what is made of it
 */
public record Measure(
    String quantity,
    Optional<Difference> difference,
    String criterion,
    double strain,
    Verdict verdict) {}
