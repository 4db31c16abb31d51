package io.llara.train.checkpoint;

import static java.util.Objects.requireNonNull;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import io.llara.LlaraException;
import io.llara.UnsupportedModelException;
import io.llara.io.AtomicFiles;
import io.llara.tokenize.Tokenizer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.IntStream;

/**
 * A byte-pair tokenizer with fewer tokens: the first ones, and the characters that they are made
 * of.
 *
 * <p>Plainly dropping the ids from N on would ruin a SentencePiece vocabulary such as LLaMA's: its
 * single characters, with which every text begins, come last. So, of N tokens, special tokens and
 * bytes keep their ids; then come the first single characters, an eighth of N where bytes stand in
 * for the rest and all of them where not; and the rest are the first of the longer tokens, each
 * with its characters. They are numbered in their old order: tokens before the first one left out
 * keep their ids, and characters move up behind them.
 */
final class VocabularyCut {
  /** SentencePiece's sign for a space. Made of bytes, it would not be turned back into one. */
  private static final String SPACE = "\u2581";

  private static final int SHARE_OF_CHARACTERS = 8;

  private final Path file;
  private final JsonObject tokenizer;
  private final int size;

  /** Ids of the whole vocabulary, in their order. */
  private final Map<String, Integer> ids = new LinkedHashMap<>();

  /** Names that keep their ids. */
  private final Map<String, Integer> fixed = new HashMap<>();

  private final Set<String> kept = new HashSet<>();

  /** Special tokens that get other ids, the last ones, with those they had. */
  private final Map<String, Integer> moved = new LinkedHashMap<>();

  private VocabularyCut(Path dir, Tokenizer known, int size, boolean mayMove) {
    this.file = dir.resolve(ModelFiles.TOKENIZER);
    this.tokenizer = ModelFiles.tokenizer(dir);
    this.size = size;
    if (!(tokenizer.getAsJsonObject("model").get("vocab") instanceof JsonObject vocabulary)) {
      throw new UnsupportedModelException(
          file + ": only the vocabulary of a BPE tokenizer can be cut, this one is Unigram");
    }
    vocabulary.entrySet().stream()
        .sorted(Comparator.comparingInt(token -> token.getValue().getAsInt()))
        .forEach(token -> ids.put(token.getKey(), token.getValue().getAsInt()));
    if (mayMove) {
      findMoved();
    }
    cutAddedTokens();
    known.eosToken().ifPresent(name -> fix(known, name));
    known.unkId().ifPresent(id -> fix(known.token(id), id));
    for (int id : known.bosIds()) {
      fix(known.token(id), id);
    }
    if (ids.containsKey(SPACE)) {
      kept.add(SPACE);
    }
    if (hasByteFallback()) {
      ids.forEach(
          (name, id) -> {
            if (name.matches("<0x[0-9A-F]{2}>")) {
              fix(name, id);
            }
          });
    }
  }

  /**
   * Writes the tokenizer of a directory with fewer tokens. Of the vocabulary only {@code
   * tokenizer.json} is written; other libraries' own forms of it no longer fit.
   *
   * @param size the number of tokens, fewer than the tokenizer has
   * @param mayMove whether special tokens beyond the end get the last ids; otherwise they are an
   *     error
   * @return the old id of each new one
   * @throws LlaraException if a special token, a byte or a needed character has no place
   */
  static int[] write(Path dir, Tokenizer known, int size, boolean mayMove, Path out) {
    VocabularyCut cut = new VocabularyCut(dir, known, size, mayMove);
    cut.choose();
    int[] oldIds = cut.renumber();
    AtomicFiles.writeJson(out.resolve(ModelFiles.TOKENIZER), cut.tokenizer);
    ModelFiles.copy(dir, out, ModelFiles.INDEPENDENT);
    ModelFiles.editAddedTokens(
        dir,
        out,
        decoder -> {
          Map<String, JsonElement> entries = new HashMap<>();
          cut.moved.forEach(
              (name, id) -> {
                if (decoder.has(id.toString())) {
                  entries.put(String.valueOf(cut.fixed.get(name)), decoder.get(id.toString()));
                }
              });
          decoder.keySet().removeIf(id -> id.matches("[0-9]{1,9}") && Integer.parseInt(id) >= size);
          entries.forEach(decoder::add);
        });
    return oldIds;
  }

  /** Gives special tokens beyond the end the last places. */
  private void findMoved() {
    for (JsonElement element : ModelFiles.list(tokenizer, "added_tokens")) {
      JsonObject token = element.getAsJsonObject();
      int id = token.get("id").getAsInt();
      if (isSpecial(token) && id >= size) {
        moved.put(token.get("content").getAsString(), id);
      }
    }
    int next = size - moved.size();
    for (String name : moved.keySet()) {
      fixed.put(name, next++);
      kept.add(name);
    }
  }

  private static boolean isSpecial(JsonObject token) {
    return token.get("special") instanceof JsonPrimitive value && value.getAsBoolean();
  }

  private boolean hasByteFallback() {
    return tokenizer.getAsJsonObject("model").get("byte_fallback") instanceof JsonPrimitive value
        && value.getAsBoolean();
  }

  private void fix(Tokenizer known, String name) {
    known.tokenId(name).ifPresent(id -> fix(name, id));
  }

  private void fix(String name, int id) {
    if (moved.containsKey(name)) {
      throw new LlaraException(
          "%s: the token '%s' stands around texts and cannot get another id".formatted(file, name));
    }
    if (id >= size) {
      throw new LlaraException(
          ("%s: the token '%s' has the id %d and cannot be left out; "
                  + "a vocabulary of %d ends before it")
              .formatted(file, name, id, size));
    }
    fixed.put(name, id);
    kept.add(name);
  }

  /** Special ones stay; others beyond the end go. */
  private void cutAddedTokens() {
    JsonArray staying = new JsonArray();
    for (JsonElement element : ModelFiles.list(tokenizer, "added_tokens")) {
      JsonObject token = element.getAsJsonObject();
      String name = token.get("content").getAsString();
      int id = token.get("id").getAsInt();
      if (moved.containsKey(name)) {
        token.addProperty("id", fixed.get(name));
        staying.add(token);
      } else if (isSpecial(token) || id < size) {
        fix(name, id);
        staying.add(token);
      } else {
        ids.remove(name);
      }
    }
    tokenizer.add("added_tokens", staying);
  }

  private void choose() {
    List<String> characters = new ArrayList<>();
    List<String> longer = new ArrayList<>();
    for (String name : ids.keySet()) {
      if (!kept.contains(name)) {
        (isCharacter(name) ? characters : longer).add(name);
      }
    }
    int room = size - kept.size();
    int wanted = characters.size();
    if (hasByteFallback()) {
      wanted = Math.min(wanted, Math.min(size / SHARE_OF_CHARACTERS, Math.max(0, room)));
    }
    if (wanted > room) {
      throw new LlaraException(
          "%s: a vocabulary of %d has no room for %d tokens that must stay and %d characters"
              .formatted(file, size, kept.size(), wanted));
    }
    kept.addAll(characters.subList(0, wanted));
    for (String name : longer) {
      Set<String> needed = charactersOf(name);
      needed.add(name);
      if (kept.size() + needed.size() > size) {
        break;
      }
      kept.addAll(needed);
    }
    // A place or two may be left where a token needed more than there was.
    characters.forEach(this::keepIfRoom);
    longer.forEach(this::keepIfRoom);
  }

  private void keepIfRoom(String name) {
    if (kept.size() < size) {
      kept.add(name);
    }
  }

  private static boolean isCharacter(String name) {
    return name.codePointCount(0, name.length()) == 1;
  }

  /** The characters of a token that are tokens and not kept yet. */
  private Set<String> charactersOf(String name) {
    Set<String> characters = new LinkedHashSet<>();
    name.codePoints()
        .mapToObj(Character::toString)
        .filter(character -> ids.containsKey(character) && !kept.contains(character))
        .forEach(characters::add);
    return characters;
  }

  /** Gives what is kept its ids, and returns the old one of each. */
  private int[] renumber() {
    Set<Integer> taken = new HashSet<>(fixed.values());
    Map<Integer, String> names = new HashMap<>();
    int next = 0;
    for (String name : ids.keySet()) {
      if (!kept.contains(name)) {
        continue;
      }
      Integer id = fixed.get(name);
      if (id == null) {
        while (taken.contains(next)) {
          next++;
        }
        id = next++;
      }
      names.put(id, name);
    }
    int[] oldIds = IntStream.range(0, size).toArray();
    moved.forEach((name, old) -> oldIds[requireNonNull(fixed.get(name))] = old);
    JsonObject vocabulary = new JsonObject();
    for (int id = 0; id < size; id++) {
      String name = names.get(id);
      if (name != null) {
        vocabulary.addProperty(name, id);
        oldIds[id] = requireNonNull(ids.get(name));
      }
    }
    JsonObject model = tokenizer.getAsJsonObject("model");
    model.add("vocab", vocabulary);
    JsonArray merges = new JsonArray();
    for (JsonElement merge : ModelFiles.list(model, "merges")) {
      String left;
      String right;
      if (merge instanceof JsonArray pair) {
        left = pair.get(0).getAsString();
        right = pair.get(1).getAsString();
      } else {
        String text = merge.getAsString();
        left = text.substring(0, text.indexOf(' '));
        right = text.substring(left.length() + 1);
      }
      if (vocabulary.has(left) && vocabulary.has(right) && vocabulary.has(left + right)) {
        merges.add(merge);
      }
    }
    model.add("merges", merges);
    return oldIds;
  }
}
