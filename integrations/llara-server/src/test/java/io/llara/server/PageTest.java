package io.llara.server;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import io.llara.Encoder;
import io.llara.retrieval.Corpus;
import io.llara.retrieval.EmbeddingSearch;
import io.llara.retrieval.SearchListener;
import io.llara.testing.Stories;
import java.io.ByteArrayInputStream;
import java.net.URI;
import java.nio.file.Path;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Uses the page in Chromium, by the keyboard alone. Screenshots are left in {@code target}; the
 * system property {@code llara.page} names a running server to look at instead.
 */
@Tag("browser")
@Timeout(120)
class PageTest {
  private static final String LINES =
      """
      {"_id": "a", "title": "Park", "text": "Lily went to the park and saw a dog."}
      {"_id": "b", "title": "Cake", "text": "Tom ate a big red cake."}
      {"_id": "c", "title": "", "text": "The sun <b>was</b> hot."}
      """;

  /** The contrast of text and ground by WCAG 2, the least of all elements with text. */
  private static final String LEAST_CONTRAST =
      """
      (() => {
        const light = c => {
          const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(v => v / 255)
              .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
          return 0.2126 * r + 0.7152 * g + 0.0722 * b;
        };
        const ground = e => {
          const c = getComputedStyle(e).backgroundColor;
          return c === 'rgba(0, 0, 0, 0)' ? ground(e.parentElement) : c;
        };
        return Math.min(...[...document.querySelectorAll('h1,h2,h3,p,label,legend,button,dt,dd')]
            .filter(e => e.offsetParent && e.textContent.trim())
            .map(e => [light(getComputedStyle(e).color), light(ground(e))].sort((a, b) => b - a))
            .map(([a, b]) => (a + 0.05) / (b + 0.05)));
      })()
      """;

  @Test
  void isUsedByTheKeyboardAlone() throws Exception {
    String running = System.getProperty("llara.page", "");
    if (!running.isEmpty()) {
      use(URI.create(running), "how do llamas carry loads");
      return;
    }
    Corpus corpus = new Corpus("three", () -> new ByteArrayInputStream(LINES.getBytes(UTF_8)));
    try (Encoder encoder = Encoder.load(Stories.dir());
        LlaraServer server =
            LlaraServer.builder(encoder)
                .port(0)
                .corpus(corpus, EmbeddingSearch.of(encoder), SearchListener.NONE)
                .start()) {
      use(server.address(), "a big cake");
    }
  }

  private static void use(URI address, String query) throws Exception {
    for (int width : new int[] {1000, 390}) {
      try (Chromium browser = new Chromium(width, 844)) {
        browser.open(address);
        assertThat(browser.evaluate("document.activeElement.id")).isEqualTo("query");
        browser.type(query);
        // It searches as one types; nothing was pressed.
        browser.await("document.querySelectorAll('#meaning li').length > 0");
        browser.await("document.getElementById('status').textContent.includes('passages in')");
        assertThat(browser.evaluate("document.querySelectorAll('#words li h3')[0].textContent"))
            .startsWith("1. ");
        assertThat(browser.evaluate("document.querySelectorAll('#meaning li dt').length / 3"))
            .isEqualTo(browser.evaluate("document.querySelectorAll('#meaning li').length"));
        assertThat(browser.evaluate("document.querySelectorAll('li b').length")).isEqualTo("0");
        browser.screenshot(Path.of("target", "page-%d.png".formatted(width)));
        assertThat(Double.parseDouble(browser.evaluate(LEAST_CONTRAST))).isGreaterThan(4.5);
        assertThat(
                browser.evaluate(
                    "document.documentElement.scrollWidth <= document.documentElement.clientWidth"))
            .isEqualTo("true");
        assertThat(
                browser.evaluate(
                    "[...document.querySelectorAll('input')].every(i => i.labels.length)"))
            .isEqualTo("true");
        // On to the button and to the modes.
        browser.press("Tab", 9);
        assertThat(browser.evaluate("document.activeElement.type")).isEqualTo("submit");
        browser.press("Tab", 9);
        assertThat(browser.evaluate("document.activeElement.value")).isEqualTo("next");
        browser.press("ArrowDown", 40);
        assertThat(browser.evaluate("document.querySelector('#meaning .chosen dt').textContent"))
            .isEqualTo("SELF");
        browser.press("Enter", 13);
        browser.await("document.getElementById('status').textContent.includes('passages in')");
        assertThat(
                browser.evaluate(
                    "performance.getEntriesByType('resource').every(r => r.name.startsWith(location.origin))"))
            .isEqualTo("true");
        assertThat(browser.problems).isEmpty();
      }
    }
  }
}
