package io.llara.train.run;

import io.llara.train.autograd.Parameter;
import io.llara.train.optim.AdamW;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;

/**
 * AdamW with the parameters dealt out to lanes, about as many elements to each. Every element is
 * updated by itself, so that the deal changes nothing.
 *
 * <p>For one thread.
 */
final class LaneOptimizer implements AutoCloseable {
  private final Lanes lanes;
  private final List<Share> shares = new ArrayList<>();

  /** What one lane updates. */
  private record Share(List<Parameter> parameters, List<Integer> places, AdamW optimizer) {
    List<String> names() {
      return parameters.stream().map(Parameter::name).toList();
    }

    void step(List<Tensor> gradients, double learningRate) {
      optimizer.step(places.stream().map(gradients::get).toList(), learningRate);
      parameters.forEach(Parameter::refresh);
    }
  }

  LaneOptimizer(List<Parameter> parameters, AdamW.Settings settings, Lanes lanes) {
    this.lanes = lanes;
    try {
      List<Integer> all = IntStream.range(0, parameters.size()).boxed().toList();
      for (List<Integer> places :
          Lanes.deal(
              all,
              place -> parameters.get(place).elements(),
              Math.min(lanes.count(), parameters.size()))) {
        List<Parameter> mine = places.stream().map(parameters::get).toList();
        shares.add(
            new Share(
                mine, places, new AdamW(mine.stream().map(Parameter::master).toList(), settings)));
      }
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  /**
   * Moves the parameters, and what the model computes with.
   *
   * @param gradients one for each parameter, in their order
   */
  void step(List<Tensor> gradients, double learningRate) {
    lanes.forEach(shares, (share, lane) -> share.step(gradients, learningRate));
  }

  /** Returns the optimiser's state by name; the tensors stay this object's. */
  Map<String, Tensor> state() {
    Map<String, Tensor> state = new LinkedHashMap<>();
    shares.forEach(share -> state.putAll(share.optimizer().state(share.names())));
    return state;
  }

  /** Goes on where another optimiser was; see {@link AdamW#restore}. */
  void restore(long steps, Function<String, Tensor> load) {
    shares.forEach(share -> share.optimizer().restore(steps, share.names(), load));
  }

  @Override
  public void close() {
    shares.forEach(share -> share.optimizer().close());
  }
}
