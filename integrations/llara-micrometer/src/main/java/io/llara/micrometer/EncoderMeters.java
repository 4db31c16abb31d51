package io.llara.micrometer;

import io.llara.EncoderListener;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.DistributionSummary;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Tags;
import io.micrometer.core.instrument.Timer;
import java.time.Duration;
import java.util.stream.IntStream;

/**
 * Meters what an encoder does.
 *
 * <pre>{@code
 * Encoder encoder = Encoder.builder(dir).listener(new EncoderMeters(registry, "my-model")).build();
 * }</pre>
 *
 * <p>Two meters are those of OpenTelemetry's semantic conventions for clients of embeddings (GenAI,
 * in development), with their bucket boundaries where a registry publishes histograms:
 *
 * <ul>
 *   <li>{@code gen_ai.client.embeddings.duration}, a timer of calls, from texts to embeddings
 *   <li>{@code gen_ai.client.embeddings.operation.input_tokens}, a summary of the tokens of a call
 *       that ran through the model
 * </ul>
 *
 * <p>The others are for what goes on inside an encoder, for which there are no conventions:
 *
 * <ul>
 *   <li>{@code llara.encoder.tokenize}, {@code llara.encoder.queue}, {@code llara.encoder.compute},
 *       timers of the parts of a call, which follow one another
 *   <li>{@code llara.encoder.texts} and {@code llara.encoder.truncated}, counters of texts and of
 *       those among them that were cut
 * </ul>
 *
 * <p>All have the tags {@code gen_ai.operation.name} ({@code embeddings}), {@code
 * gen_ai.provider.name} ({@code llara}) and {@code gen_ai.request.model}. A call is what {@link
 * EncoderListener#encoded} reports; calls that fail are not metered. Thread-safe.
 */
public final class EncoderMeters implements EncoderListener {
  private static final int BUCKETS = 14;

  private final Tags tags;
  private final Timer duration;
  private final DistributionSummary inputTokens;
  private final Timer tokenize;
  private final Timer queue;
  private final Timer compute;
  private final Counter texts;
  private final Counter truncated;

  /**
   * Registers the meters.
   *
   * @param model what the tag {@code gen_ai.request.model} says
   */
  public EncoderMeters(MeterRegistry registry, String model) {
    tags =
        Tags.of(
            "gen_ai.operation.name", "embeddings",
            "gen_ai.provider.name", "llara",
            "gen_ai.request.model", model);
    duration =
        Timer.builder("gen_ai.client.embeddings.duration")
            .description("From texts to embeddings")
            .tags(tags)
            .serviceLevelObjectives(
                IntStream.range(0, BUCKETS)
                    .mapToObj(power -> Duration.ofMillis(10L << power))
                    .toArray(Duration[]::new))
            .register(registry);
    inputTokens =
        DistributionSummary.builder("gen_ai.client.embeddings.operation.input_tokens")
            .description("The tokens of a call, prompts included")
            .baseUnit("token")
            .tags(tags)
            .serviceLevelObjectives(
                IntStream.range(0, BUCKETS).mapToDouble(power -> 1L << 2 * power).toArray())
            .register(registry);
    tokenize = part("tokenize", "Making the prompts", registry);
    queue = part("queue", "Waiting for a lane", registry);
    compute = part("compute", "The forward passes", registry);
    texts = counter("texts", "Texts encoded", registry);
    truncated = counter("truncated", "Texts that were cut because they did not fit", registry);
  }

  @Override
  public void encoded(Event event) {
    duration.record(event.tokenize().plus(event.queue()).plus(event.compute()));
    inputTokens.record(event.tokens());
    tokenize.record(event.tokenize());
    queue.record(event.queue());
    compute.record(event.compute());
    texts.increment(event.texts());
    truncated.increment(event.truncatedTexts());
  }

  private Timer part(String name, String description, MeterRegistry registry) {
    return Timer.builder("llara.encoder." + name)
        .description(description)
        .tags(tags)
        .register(registry);
  }

  private Counter counter(String name, String description, MeterRegistry registry) {
    return Counter.builder("llara.encoder." + name)
        .description(description)
        .baseUnit("texts")
        .tags(tags)
        .register(registry);
  }
}
