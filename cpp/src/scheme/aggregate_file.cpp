// Layer: scheme. See aggregate_file.h.
#include "scheme/aggregate_file.h"

#include <cstring>
#include <mutex>
#include <vector>

#include "base/parallel.h"
#include "isa/dispatch.h"
#include "scheme/blocks_digest.h"
#include "scheme/portions.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {
namespace {

/// Bytes of round id, count and length: what every aggregate has.
constexpr std::uint64_t kFixedBytes = 32 + 4 + 8;

}  // namespace

AggregateFile::AggregateFile(const std::string& path, const Round& round)
    : file_(std::make_shared<const InputFile>(path)) {
  std::uint8_t first[kEnvelopeHeaderBytes];
  const std::uint64_t size = file_->size();
  if (size < kEnvelopeHeaderBytes + kEnvelopeTrailerBytes) {
    throw WireFormatError("aggregate: truncated: " + path + " has " + std::to_string(size) +
                          " bytes");
  }
  file_->read_at(0, first);
  check_envelope_header(first, size, ObjectKind::kAggregate);
  try {
    read_head(round);
  } catch (const VeilsumError&) {
    check_damage();
    throw;
  }
}

void AggregateFile::read_head(const Round& round) {
  const std::uint64_t size = file_->size();
  // The blocks' length is the round's, so the rest is the head: it is bounded before it is read.
  const std::uint64_t frame = kEnvelopeHeaderBytes + kEnvelopeTrailerBytes;
  const std::uint64_t most = most_aggregate_fields(round, round.cipher().max_weight());
  if (size < frame + kFixedBytes + round.payload_bytes() ||
      size - frame - round.payload_bytes() > most) {
    // Of another round, probably: its id says so better than its length.
    std::uint8_t id[32];
    if (size >= frame + sizeof id) {
      file_->read_at(kEnvelopeHeaderBytes, id);
      ByteReader in(id, "aggregate");
      check_round_id(in.array<32>(), round, "the aggregate");
    }
    throw WireFormatError("aggregate: has " + std::to_string(size) +
                          " bytes, which no aggregate of this round can have");
  }
  blocks_offset_ = size - kEnvelopeTrailerBytes - round.payload_bytes();
  Bytes head(static_cast<std::size_t>(blocks_offset_));
  file_->read_at(0, head);
  crc_of_head_ = isa::kernels().crc32c(0, head.data(), head.size());
  std::uint8_t last[kEnvelopeTrailerBytes];
  file_->read_at(size - sizeof last, last);
  std::memcpy(&stored_crc_, last, sizeof last);

  ByteReader in(ByteView(head).subspan(kEnvelopeHeaderBytes), "aggregate");
  Manifest manifest = read_aggregate_fields(in, round);
  in.finish();
  manifest_ = std::make_shared<const Manifest>(std::move(manifest));
}

void AggregateFile::check_damage() const {
  check_checksum_of(
      [&](std::uint64_t offset, std::span<std::uint8_t> out) { file_->read_at(offset, out); },
      file_->size(), ObjectKind::kAggregate);
}

void AggregateFile::check_checksum(std::uint32_t crc_of_blocks) const {
  if (crc32c_combine(crc_of_head_, crc_of_blocks, round().payload_bytes()) != stored_crc_) {
    refuse_checksum(ObjectKind::kAggregate);
  }
}

void AggregateFile::read_through(int threads, BlocksDigest* digest, const BlockBytes& each) const {
  struct Result {
    std::uint32_t crc = 0;
    Bytes pieces;
  };
  const Spans spans(round());
  const std::uint64_t portion = digest == nullptr ? spans.count() : spans_in_portion(threads);
  std::uint32_t crc = 0;
  for (std::uint64_t first = 0; first < spans.count(); first += portion) {
    std::vector<Result> results(static_cast<std::size_t>(std::min(portion, spans.count() - first)));
    parallel_for(
        results.size(), threads, [&] { return AlignedBuffer<std::uint8_t>(spans.most_bytes()); },
        [&](std::size_t item, AlignedBuffer<std::uint8_t>& scratch) {
          const std::uint64_t span = first + item;
          const std::span<std::uint8_t> bytes = scratch.span().first(spans.bytes(span));
          file_->read_at(blocks_offset_ + spans.offset(span), bytes);
          results[item].crc = isa::kernels().crc32c(0, bytes.data(), bytes.size());
          if (digest != nullptr) results[item].pieces = piece_digests(bytes);
          if (each) each(spans.first_block(span), spans.blocks(span), bytes);
        });
    for (std::size_t item = 0; item < results.size(); ++item) {
      crc = crc32c_combine(crc, results[item].crc, spans.bytes(first + item));
      if (digest != nullptr) digest->append(results[item].pieces);
    }
  }
  check_checksum(crc);
}

void AggregateFile::verify(int threads) const { read_through(threads, nullptr, {}); }

Digest AggregateFile::blocks_digest(int threads) const {
  BlocksDigest digest;
  read_through(threads, &digest, {});
  return digest.finish();
}

HashBlocks AggregateFile::hash_blocks(int threads) const {
  return [this, threads](const ring::BlocksHash& hash) {
    return hash_through(threads, nullptr, hash);
  };
}

AggregateFile::Reading AggregateFile::read_blocks(int threads, const ring::BlocksHash& hash) const {
  BlocksDigest digest;
  const ring::TagSum hashed = hash_through(threads, &digest, hash);
  return {digest.finish(), hashed};
}

ring::TagSum AggregateFile::hash_through(int threads, BlocksDigest* digest,
                                         const ring::BlocksHash& hash) const {
  ring::TagSum total(ring::BlocksHash::field());
  std::mutex guard;
  read_through(threads, digest, [&](std::uint64_t first, std::uint64_t count, ByteView bytes) {
    ring::TagSum sum(ring::BlocksHash::field());
    add_blocks(hash, round(), first, count, bytes, sum);
    const std::lock_guard<std::mutex> lock(guard);
    total.add(sum);
  });
  return total;
}

OpeningRequest AggregateFile::opening_request(int threads) const {
  OpeningRequest request{*manifest_};
  if (names_blocks(round())) {
    request.evidence.blocks_digest = blocks_digest(threads);
  }
  return request;
}

void check_sum_key(const SumKey& key, const AggregateFile& total) {
  try {
    check_sum_key(key, total.manifest());
  } catch (const KeyMismatchError&) {
    total.check_damage();
    throw;
  }
}

Bytes write_aggregate_head(const Manifest& manifest) {
  const Bytes fields = write_aggregate_fields(manifest);
  ByteWriter out(kEnvelopeHeaderBytes + fields.size());
  out.raw(envelope_header(ObjectKind::kAggregate, kEnvelopeHeaderBytes + fields.size() +
                                                      manifest.round().payload_bytes() +
                                                      kEnvelopeTrailerBytes));
  out.raw(fields);
  return out.take();
}

}  // namespace veilsum::scheme
