package io.llara.micrometer;

import static org.assertj.core.api.Assertions.assertThat;

import io.llara.Encoder;
import io.llara.Mode;
import io.llara.testing.Stories;
import io.micrometer.core.instrument.DistributionSummary;
import io.micrometer.core.instrument.Meter;
import io.micrometer.core.instrument.Tags;
import io.micrometer.core.instrument.Timer;
import io.micrometer.core.instrument.distribution.CountAtBucket;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class EncoderMetersTest {
  private static final String TEXT = "Once upon a time there was a little dog.";

  private final SimpleMeterRegistry registry = new SimpleMeterRegistry();
  private final EncoderMeters meters = new EncoderMeters(registry, "stories");

  @Test
  void metersCallsTokensAndTexts() {
    try (Encoder encoder = Encoder.builder(Stories.dir()).maxTokens(64).listener(meters).build()) {
      encoder.encodeQuery(TEXT);
      encoder.encodeAll(List.of(TEXT, TEXT, TEXT.repeat(20)), Mode.SELF);

      DistributionSummary tokens =
          registry.get("gen_ai.client.embeddings.operation.input_tokens").summary();
      assertThat(tokens.count()).isEqualTo(2);
      assertThat(tokens.totalAmount()).isEqualTo(encoder.statistics().tokens());
      assertThat(tokens.max()).isEqualTo(2 * encoder.countTokens(TEXT, Mode.SELF) + 64);
    }
    assertThat(registry.get("llara.encoder.texts").counter().count()).isEqualTo(4);
    assertThat(registry.get("llara.encoder.truncated").counter().count()).isEqualTo(1);

    Timer duration = registry.get("gen_ai.client.embeddings.duration").timer();
    assertThat(duration.count()).isEqualTo(2);
    assertThat(duration.totalTime(TimeUnit.NANOSECONDS))
        .isEqualTo(nanos("tokenize") + nanos("queue") + nanos("compute"));
    assertThat(nanos("tokenize")).isPositive();
    assertThat(nanos("compute")).isPositive();
  }

  @Test
  void allHaveTheTagsOfTheConventions() {
    Tags tags =
        Tags.of(
            "gen_ai.operation.name", "embeddings",
            "gen_ai.provider.name", "llara",
            "gen_ai.request.model", "stories");
    assertThat(registry.getMeters().stream().map(Meter::getId))
        // In this registry each bucket is a gauge.
        .filteredOn(id -> id.getType() != Meter.Type.GAUGE)
        .hasSize(7)
        .allSatisfy(id -> assertThat(Tags.of(id.getTags())).isEqualTo(tags));
  }

  @Test
  void bucketsAreThoseOfTheConventions() {
    assertThat(registry.get("gen_ai.client.embeddings.duration").timer().takeSnapshot())
        .satisfies(
            snapshot ->
                assertThat(snapshot.histogramCounts())
                    .extracting(bucket -> bucket.bucket(TimeUnit.MILLISECONDS))
                    .startsWith(10.0, 20.0, 40.0)
                    .endsWith(40_960.0, 81_920.0));
    assertThat(
            registry
                .get("gen_ai.client.embeddings.operation.input_tokens")
                .summary()
                .takeSnapshot()
                .histogramCounts())
        .extracting(CountAtBucket::bucket)
        .startsWith(1.0, 4.0, 16.0)
        .endsWith(16_777_216.0, 67_108_864.0);
  }

  private double nanos(String part) {
    return registry.get("llara.encoder." + part).timer().totalTime(TimeUnit.NANOSECONDS);
  }
}
