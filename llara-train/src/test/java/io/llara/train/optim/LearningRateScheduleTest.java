package io.llara.train.optim;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatIllegalArgumentException;
import static org.assertj.core.api.Assertions.within;

import io.llara.train.optim.LearningRateSchedule.Decay;
import io.llara.train.optim.LearningRateSchedule.Warmup;
import net.jqwik.api.ForAll;
import net.jqwik.api.Property;
import net.jqwik.api.constraints.DoubleRange;
import net.jqwik.api.constraints.IntRange;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class LearningRateScheduleTest {
  @Test
  void upInAStraightLineAndDownInAnother() {
    LearningRateSchedule schedule = new LearningRateSchedule(1, 4, 8, Warmup.LINEAR, Decay.LINEAR);
    double[] expected = {0.25, 0.5, 0.75, 1, 0.8, 0.6, 0.4, 0.2, 0, 0};
    for (int step = 1; step <= expected.length; step++) {
      assertThat(schedule.at(step))
          .as("step %d", step)
          .isEqualTo(expected[step - 1], within(1e-15));
    }
  }

  @Test
  void halfAWaveDown() {
    LearningRateSchedule schedule = new LearningRateSchedule(2, 0, 4, Warmup.LINEAR, Decay.COSINE);
    assertThat(schedule.at(1)).isEqualTo(2);
    assertThat(schedule.at(3)).isEqualTo(2 * 0.5, within(1e-15));
    assertThat(schedule.at(5)).isEqualTo(0, within(1e-15));
  }

  @ParameterizedTest
  @EnumSource(Decay.class)
  void oneStepHasThePeak(Decay decay) {
    assertThat(new LearningRateSchedule(3, 0, 1, Warmup.LINEAR, decay).at(1)).isEqualTo(3);
    assertThat(new LearningRateSchedule(3, 1, 1, Warmup.LINEAR, decay).at(1)).isEqualTo(3);
  }

  @Test
  void aConstantRateStays() {
    LearningRateSchedule schedule =
        new LearningRateSchedule(1e-3, 2, 9, Warmup.LINEAR, Decay.CONSTANT);
    assertThat(schedule.at(1)).isEqualTo(5e-4);
    assertThat(schedule.at(2)).isEqualTo(1e-3);
    assertThat(schedule.at(9)).isEqualTo(1e-3);
  }

  /**
   * Expected values from DeepSpeed 0.19's WarmupDecayLR; PresetTest has ten steps of a longer run.
   */
  @Test
  void upInALogarithmAsDeepSpeedGoes() {
    LearningRateSchedule schedule = new LearningRateSchedule(1, 3, 8, Warmup.LOG, Decay.LINEAR);
    double[] expected = {0, 0, Math.log(2) / Math.log(3), 1, 1, 0.8, 0.6, 0.4, 0.2, 0, 0};
    for (int step = 1; step <= expected.length; step++) {
      assertThat(schedule.at(step))
          .as("step %d", step)
          .isEqualTo(expected[step - 1], within(1e-15));
    }
    LearningRateSchedule shortest = new LearningRateSchedule(1, 0, 1, Warmup.LOG, Decay.COSINE);
    assertThat(shortest.at(1)).isZero();
    assertThat(shortest.at(4)).isEqualTo(1);
  }

  @Property
  void neverZeroNorAboveThePeakAndOneTop(
      @ForAll @IntRange(min = 1, max = 200) int total,
      @ForAll @DoubleRange(min = 0, max = 1) double warmupShare,
      @ForAll Decay decay) {
    long warmup = (long) (warmupShare * total);
    LearningRateSchedule schedule =
        new LearningRateSchedule(0.5, warmup, total, Warmup.LINEAR, decay);
    for (long step = 1; step <= total; step++) {
      assertThat(schedule.at(step)).isPositive().isLessThanOrEqualTo(0.5);
      if (step < warmup) {
        assertThat(schedule.at(step)).isLessThan(schedule.at(step + 1));
      } else {
        assertThat(schedule.at(step)).isGreaterThanOrEqualTo(schedule.at(step + 1));
      }
    }
  }

  @ParameterizedTest
  @ValueSource(doubles = {Double.NaN, -1e-3, Double.POSITIVE_INFINITY})
  void aSenselessRateIsNamed(double rate) {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new LearningRateSchedule(rate, 0, 1, Warmup.LINEAR, Decay.LINEAR))
        .withMessageStartingWith("learning rate is " + rate);
  }

  @Test
  void stepsAreChecked() {
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new LearningRateSchedule(1, 0, 0, Warmup.LINEAR, Decay.LINEAR));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new LearningRateSchedule(1, 11, 10, Warmup.LINEAR, Decay.LINEAR))
        .withMessage("warm-up is 11 steps; expected 0 to 10, the steps of the run");
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new LearningRateSchedule(1, -1, 10, Warmup.LINEAR, Decay.LINEAR));
    assertThatIllegalArgumentException()
        .isThrownBy(() -> new LearningRateSchedule(1, 0, 1, Warmup.LINEAR, Decay.LINEAR).at(0));
  }
}
