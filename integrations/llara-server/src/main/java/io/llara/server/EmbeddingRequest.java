package io.llara.server;

import com.google.common.primitives.Ints;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import io.llara.io.Messages;
import io.llara.io.StrictJson;
import io.llara.server.ApiException.Problem;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * What both protocols ask for.
 *
 * @param inputs texts, or token ids of texts
 * @param query whether they are queries; else they are passages
 * @param dimensions the length to cut embeddings to; 0 leaves them as they are
 * @param base64 whether embeddings are sent as bytes
 * @param truncate whether texts that do not fit are cut; null leaves it to the server
 * @param normalize false if embeddings must not have length 1
 */
record EmbeddingRequest(
    List<Input> inputs,
    boolean query,
    int dimensions,
    boolean base64,
    @Nullable Boolean truncate,
    boolean normalize) {
  private static final int DEPTH = 4;

  /** A text or its ids: one of them is there. */
  record Input(@Nullable String text, int @Nullable [] ids) {}

  /** Returns a request for the embeddings of one query, one cut to fit. */
  static EmbeddingRequest ofQuery(String text) {
    return new EmbeddingRequest(List.of(new Input(text, null)), true, 0, false, true, true);
  }

  /**
   * Reads the body of a request. It is read as it comes, without a tree: a tree of a million
   * numbers is a hundred times their size.
   *
   * @throws ApiException if it is not one
   */
  static EmbeddingRequest read(byte[] body, Dialect dialect, ServerLimits limits) {
    try (JsonReader json = StrictJson.reader(new ByteArrayInputStream(body), DEPTH)) {
      EmbeddingRequest request = new Parser(json, dialect, limits).request();
      StrictJson.end(json);
      return request;
    } catch (IOException e) {
      throw new ApiException(Problem.INVALID, "the body is not valid JSON: " + Messages.reason(e));
    }
  }

  /** Reads one body. */
  private static final class Parser {
    private final JsonReader json;
    private final Dialect dialect;
    private final ServerLimits limits;
    private final List<Input> inputs = new ArrayList<>();
    private boolean query;
    private int dimensions;
    private boolean base64;
    private @Nullable Boolean truncate;
    private boolean normalize = true;

    Parser(JsonReader json, Dialect dialect, ServerLimits limits) {
      this.json = json;
      this.dialect = dialect;
      this.limits = limits;
    }

    EmbeddingRequest request() throws IOException {
      require(JsonToken.BEGIN_OBJECT, "the body", "an object");
      json.beginObject();
      Set<String> seen = new HashSet<>();
      while (json.hasNext()) {
        String key = json.nextName();
        if (!dialect.keys().contains(key)) {
          throw invalid(
              "the key %s is not known; known are %s"
                  .formatted(Messages.quote(key), String.join(", ", dialect.keys())));
        }
        if (!seen.add(key)) {
          throw invalid("the key '%s' occurs twice".formatted(key));
        }
        if (json.peek() == JsonToken.NULL) {
          json.nextNull();
        } else {
          read(key);
        }
      }
      json.endObject();
      if (inputs.isEmpty()) {
        throw invalid("'%s' is missing or empty".formatted(dialect.inputKey()));
      }
      return new EmbeddingRequest(
          List.copyOf(inputs), query, dimensions, base64, truncate, normalize);
    }

    private void read(String key) throws IOException {
      switch (key) {
        case "input", "inputs" -> inputs(key);
        case "input_type", "prompt_name" -> query = isQuery(key, string(key));
        case "dimensions" -> dimensions = positive(key);
        case "encoding_format" -> base64 = isBase64(string(key));
        case "truncate" -> truncate = bool(key);
        case "normalize" -> normalize = bool(key);
        case "truncation_direction" -> requireRight(string(key));
        default -> string(key); // The model and the user, which change nothing.
      }
    }

    private void inputs(String key) throws IOException {
      if (json.peek() == JsonToken.STRING) {
        add(new Input(text(), null));
        return;
      }
      require(JsonToken.BEGIN_ARRAY, "'%s'".formatted(key), "a string or an array");
      json.beginArray();
      if (json.peek() == JsonToken.NUMBER) {
        add(new Input(null, ids(key)));
      } else {
        while (json.hasNext()) {
          if (json.peek() == JsonToken.STRING) {
            add(new Input(text(), null));
          } else {
            require(
                JsonToken.BEGIN_ARRAY,
                "'%s'".formatted(key),
                "an array of strings, of token ids, or of arrays of token ids");
            json.beginArray();
            add(new Input(null, ids(key)));
            json.endArray();
          }
        }
      }
      json.endArray();
    }

    private void add(Input input) {
      if (inputs.size() == limits.texts()) {
        throw new ApiException(
            Problem.TOO_LARGE, "there are more than %d texts".formatted(limits.texts()));
      }
      inputs.add(input);
    }

    private String text() throws IOException {
      String text = json.nextString();
      if (text.length() > limits.textCharacters()) {
        throw new ApiException(
            Problem.TOO_LARGE,
            "text %d has %d characters; the limit is %d"
                .formatted(inputs.size(), text.length(), limits.textCharacters()));
      }
      return text;
    }

    private int[] ids(String key) throws IOException {
      List<Integer> ids = new ArrayList<>();
      while (json.hasNext()) {
        ids.add(wholeNumber(key));
      }
      return Ints.toArray(ids);
    }

    private int wholeNumber(String key) throws IOException {
      require(JsonToken.NUMBER, "'%s'".formatted(key), "a whole number");
      String spelled = json.nextString();
      Integer number = Ints.tryParse(spelled);
      if (number == null) {
        throw invalid(
            "'%s' has %s; expected a whole number".formatted(key, Messages.quote(spelled)));
      }
      return number;
    }

    private int positive(String key) throws IOException {
      int number = wholeNumber(key);
      if (number < 1) {
        throw invalid("'%s' is %d; expected 1 or more".formatted(key, number));
      }
      return number;
    }

    private String string(String key) throws IOException {
      require(JsonToken.STRING, "'%s'".formatted(key), "a string");
      return json.nextString();
    }

    private boolean bool(String key) throws IOException {
      require(JsonToken.BOOLEAN, "'%s'".formatted(key), "true or false");
      return json.nextBoolean();
    }

    private static boolean isQuery(String key, String value) {
      return switch (value) {
        case "query" -> true;
        case "document", "passage" -> false;
        default ->
            throw invalid(
                "'%s' is %s; expected 'query' or 'document'".formatted(key, Messages.quote(value)));
      };
    }

    private static boolean isBase64(String value) {
      return switch (value) {
        case "base64" -> true;
        case "float" -> false;
        default ->
            throw invalid(
                "'encoding_format' is %s; expected 'float' or 'base64'"
                    .formatted(Messages.quote(value)));
      };
    }

    private static void requireRight(String value) {
      if (!value.equalsIgnoreCase("right")) {
        throw invalid(
            "'truncation_direction' is %s; texts are cut at their end ('Right')"
                .formatted(Messages.quote(value)));
      }
    }

    private void require(JsonToken token, String what, String expected) throws IOException {
      JsonToken found = json.peek();
      if (found != token) {
        throw invalid(
            "%s is %s; expected %s"
                .formatted(what, found.name().toLowerCase(java.util.Locale.ROOT), expected));
      }
    }

    private static ApiException invalid(String message) {
      return new ApiException(Problem.INVALID, message);
    }
  }
}
