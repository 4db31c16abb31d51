package io.llara.tokenize;

import io.llara.ModelLoadException;
import io.llara.UnsupportedModelException;
import io.llara.io.Messages;
import io.llara.tokenize.BpeTokenizer.TokenType;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A SentencePiece model as LLaMA-like tokenizers have it, a {@code tokenizer.model}: byte-pair
 * pieces with scores, and no normalisation. It is untrusted.
 *
 * @param pieces the pieces in the order of their ids
 * @param ids their ids
 * @param unknownId the piece for what has none
 * @param bosId the piece that begins a text; -1 if there is none
 * @param eosId the piece that ends a text; -1 if there is none
 * @param addsSpace whether a space is put before a text
 * @see <a
 *     href="https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto">the
 *     format</a>
 */
record SentencePieceModel(
    List<Piece> pieces,
    Map<String, Integer> ids,
    int unknownId,
    int bosId,
    int eosId,
    boolean addsSpace) {
  private static final int MAX_BYTES = 64 << 20;
  private static final int MAX_PIECES = 1 << 20;

  /** Merges try every way to cut a piece in two. */
  private static final int MAX_PIECE_CHARACTERS = 512;

  private static final int BPE = 2;
  private static final List<String> ALGORITHMS = List.of("none", "UNIGRAM", "BPE", "WORD", "CHAR");

  record Piece(String text, double score, TokenType type) {}

  /**
   * Reads a model.
   *
   * @throws ModelLoadException if the file cannot be read or is damaged
   * @throws UnsupportedModelException if it is of a kind that is not converted
   */
  static SentencePieceModel read(Path file) {
    try {
      if (Files.size(file) > MAX_BYTES) {
        throw new ModelLoadException(
            "%s: has %d bytes; expected at most %d".formatted(file, Files.size(file), MAX_BYTES));
      }
      return read(ProtoMessage.read(ByteBuffer.wrap(Files.readAllBytes(file))), file);
    } catch (IllegalArgumentException | ClassCastException e) {
      throw new ModelLoadException(
          "%s: is not a SentencePiece model, or is damaged: %s".formatted(file, e.getMessage()), e);
    } catch (IOException e) {
      throw new ModelLoadException("%s: cannot be read: %s".formatted(file, Messages.reason(e)), e);
    }
  }

  private static SentencePieceModel read(ProtoMessage model, Path file) {
    List<Piece> pieces = new ArrayList<>();
    Map<String, Integer> ids = new LinkedHashMap<>();
    for (ByteBuffer bytes : model.all(1)) {
      Piece piece = piece(ProtoMessage.read(bytes), pieces.size());
      Integer before = ids.putIfAbsent(piece.text(), pieces.size());
      if (before != null || pieces.size() == MAX_PIECES) {
        throw new IllegalArgumentException(
            before == null
                ? "more than " + MAX_PIECES + " pieces"
                : "pieces %d and %d are both %s"
                    .formatted(before, pieces.size(), Messages.quote(piece.text())));
      }
      pieces.add(piece);
    }
    if (model.all(2).isEmpty() || model.all(3).isEmpty()) {
      throw new IllegalArgumentException("it ends before the settings that follow the pieces");
    }
    ProtoMessage trainer = model.message(2);
    ProtoMessage normalizer = model.message(3);
    refuseUnsupported(file, pieces, trainer, normalizer);
    int unknown = (int) trainer.number(40, 0);
    if (unknown < 0
        || unknown >= pieces.size()
        || pieces.get(unknown).type() != TokenType.UNKNOWN) {
      throw new IllegalArgumentException("piece %d is not the unknown one".formatted(unknown));
    }
    return new SentencePieceModel(
        pieces,
        ids,
        unknown,
        (int) trainer.number(41, 1),
        (int) trainer.number(42, 2),
        normalizer.number(3, 1) != 0);
  }

  private static Piece piece(ProtoMessage message, int id) {
    String text = message.text(1);
    double score = Float.intBitsToFloat((int) message.number(2, 0));
    long type = message.number(3, 1);
    boolean known = type >= 1 && type <= TokenType.values().length;
    if (text.isEmpty()
        || text.length() > MAX_PIECE_CHARACTERS
        || !Double.isFinite(score)
        || !known
        || type == TokenType.BYTE.ordinal() + 1 && !BpeTokenizer.namesByte(text)) {
      throw new IllegalArgumentException(
          "piece %d is %s with %d characters, score %s and type %d"
              .formatted(id, Messages.quote(text), text.length(), score, type));
    }
    return new Piece(text, score, TokenType.values()[(int) type - 1]);
  }

  /** What byte-pair encoding after replacing spaces would give other ids for. */
  private static void refuseUnsupported(
      Path file, List<Piece> pieces, ProtoMessage trainer, ProtoMessage normalizer) {
    long algorithm = trainer.number(3, 1);
    require(
        algorithm == BPE,
        file,
        "model type "
            + (algorithm > 0 && algorithm < ALGORITHMS.size()
                ? ALGORITHMS.get((int) algorithm)
                : algorithm),
        "BPE");
    boolean identity = normalizer.all(2).stream().noneMatch(ByteBuffer::hasRemaining);
    require(identity, file, "normalisation " + Messages.quote(normalizer.text(1)), "identity");
    require(normalizer.number(4, 1) == 0, file, "remove_extra_whitespaces true", "false");
    require(normalizer.number(5, 1) != 0, file, "escape_whitespaces false", "true");
    require(trainer.number(24, 0) == 0, file, "treat_whitespace_as_suffix true", "false");
    require(
        pieces.stream().noneMatch(piece -> piece.type() == TokenType.UNUSED),
        file,
        "a piece of type UNUSED",
        "the other types");
    long bytes = pieces.stream().filter(piece -> piece.type() == TokenType.BYTE).count();
    require(
        bytes == 0 || bytes == BpeTokenizer.BYTES,
        file,
        bytes + " byte pieces",
        "none or " + BpeTokenizer.BYTES);
  }

  private static void require(boolean supported, Path file, String found, String expected) {
    if (!supported) {
      throw new UnsupportedModelException(
          "%s: has %s, which is not supported; supported: %s".formatted(file, found, expected));
    }
  }

  boolean hasBytes() {
    return pieces.stream().anyMatch(piece -> piece.type() == TokenType.BYTE);
  }
}
