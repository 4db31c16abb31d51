package io.llara.spring.autoconfigure;

import io.llara.Encoder;
import org.springframework.boot.actuate.health.AbstractHealthIndicator;
import org.springframework.boot.actuate.health.Health;

/**
 * Reports an encoder as up while it is open. It tokenises a word, but runs no forward pass, for
 * which it would have to wait behind others under load.
 */
final class LlaraHealthIndicator extends AbstractHealthIndicator {
  private final Encoder encoder;

  LlaraHealthIndicator(Encoder encoder) {
    super("the encoder is not usable");
    this.encoder = encoder;
  }

  @Override
  protected void doHealthCheck(Health.Builder health) {
    encoder.countTokens("health", encoder.modes().query());
    health
        .up()
        .withDetail("dimension", encoder.dimension())
        .withDetail("maxTokens", encoder.maxTokens())
        .withDetail("template", encoder.template().name())
        .withDetail("computeType", encoder.computeType())
        .withDetail("lanes", encoder.lanes())
        .withDetail("texts", encoder.statistics().texts());
  }
}
