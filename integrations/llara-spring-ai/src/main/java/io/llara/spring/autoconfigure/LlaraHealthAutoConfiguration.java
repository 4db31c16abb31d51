package io.llara.spring.autoconfigure;

import io.llara.Encoder;
import org.springframework.boot.actuate.autoconfigure.health.ConditionalOnEnabledHealthIndicator;
import org.springframework.boot.actuate.health.HealthIndicator;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.context.annotation.Bean;

/**
 * Configures the health of the {@link Encoder}, unless {@code management.health.llara.enabled} is
 * false.
 */
@AutoConfiguration(after = LlaraAutoConfiguration.class)
@ConditionalOnClass(HealthIndicator.class)
@ConditionalOnBean(Encoder.class)
public class LlaraHealthAutoConfiguration {
  LlaraHealthAutoConfiguration() {}

  // Here, not above: where there is no actuator, nothing looks at the methods.
  @Bean
  @ConditionalOnEnabledHealthIndicator("llara")
  @ConditionalOnMissingBean(name = "llaraHealthIndicator")
  HealthIndicator llaraHealthIndicator(Encoder encoder) {
    return new LlaraHealthIndicator(encoder);
  }
}
