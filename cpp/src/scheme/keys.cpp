// Layer: scheme. See keys.h.
#include "scheme/keys.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/file_io.h"
#include "base/file_stream.h"
#include "ring/sha256.h"
#include "scheme/kem_key.h"
#include "scheme/kept_files.h"
#include "scheme/ledger.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::scheme {

namespace {

constexpr std::size_t kMostParts = 64;
/// Far more than any engine's key has.
constexpr std::size_t kMostBodyBytes = std::size_t{1} << 27;

/// Whose ledger it is: the id, padded.
Digest owner_of(const KeyId& id) {
  Digest owner{};
  std::copy(id.begin(), id.end(), owner.begin());
  return owner;
}

/// The ledger beside a key file, whatever name led to that.
std::string ledger_path(const std::string& path) { return resolved_destination(path) + ".opened"; }

/// A second name would look like a second key, with a ledger of its own or none.
void refuse_hard_links(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) throw_errno("cannot stat", path);
  if (status.st_nlink > 1) {
    throw ParameterError(path + " has " + std::to_string(status.st_nlink) +
                         " names (hard links), and its ledger would stand beside each; remove all "
                         "but the one beside the ledger, or make symbolic links of them");
  }
}

/// What seals to it would fail, or protect nothing.
void check_native(ByteView body) {
  const char* const lattice = weakness_of_encapsulation_key(body.first(kEncapsulationKeyBytes));
  const char* const curve = weakness_of_exchange_key(body.subspan(kEncapsulationKeyBytes));
  if (lattice == nullptr && curve == nullptr) return;
  throw ParameterError(std::string("the public key's ") +
                       (lattice != nullptr ? "ML-KEM-768 part " : "X25519 part ") +
                       (lattice != nullptr ? lattice : curve) + "; make a pair with keygen");
}

}  // namespace

PublicKey::PublicKey(Engine engine, ByteView body, std::vector<KeyId> parts)
    : engine_(engine),
      parts_(std::move(parts)),
      body_(std::make_shared<const Bytes>(body.begin(), body.end())) {
  if (engine == Engine::kNative && (body.size() != kPublicKeyBytes || !parts_.empty())) {
    throw ParameterError("a public key of engine 'native' has " + std::to_string(kPublicKeyBytes) +
                         " bytes, not " + std::to_string(body.size()) + ", and no parts, not " +
                         std::to_string(parts_.size()));
  }
  if (body.size() > kMostBodyBytes || parts_.size() > kMostParts) {
    throw ParameterError("a public key of engine '" + engine_name(engine) + "' has at most " +
                         std::to_string(kMostBodyBytes) + " bytes, not " +
                         std::to_string(body.size()) + ", and at most " +
                         std::to_string(kMostParts) + " parts, not " +
                         std::to_string(parts_.size()));
  }
  if (engine == Engine::kNative) check_native(body);
  const Digest digest = ring::labelled_hash("veilsum/2/public-key-id", {fields()});
  std::memcpy(id_.data(), digest.data(), id_.size());
}

void PublicKey::write_fields(ByteWriter& out) const {
  out.u8(static_cast<std::uint8_t>(engine_));
  out.u8(static_cast<std::uint8_t>(parts_.size()));
  for (const KeyId& part : parts_) out.raw(part);
  out.u32(static_cast<std::uint32_t>(body_->size()));
  out.raw(*body_);
}

PublicKey PublicKey::read_fields(ByteReader& in) {
  const auto engine = static_cast<Engine>(in.u8());
  const std::uint8_t count = in.u8();
  std::vector<KeyId> parts;
  parts.reserve(count);
  for (std::uint8_t i = 0; i < count; ++i) parts.push_back(in.array<sizeof(KeyId)>());
  const ByteView body = in.raw(in.u32());
  try {
    return {engine, body, std::move(parts)};
  } catch (const ParameterError& error) {
    in.fail(error.what());
  }
}

Bytes PublicKey::fields() const {
  ByteWriter out(2 + sizeof(KeyId) * parts_.size() + 4 + body_->size());
  write_fields(out);
  return out.take();
}

Bytes PublicKey::to_bytes() const { return seal(ObjectKind::kPublicKey, {fields()}); }

PublicKey PublicKey::from_bytes(ByteView bytes) {
  ByteReader in(open_envelope(bytes, ObjectKind::kPublicKey), "public key");
  PublicKey key = read_fields(in);
  in.finish();
  return key;
}

SecretKey::SecretKey(ByteView secret, PublicKey public_key)
    : secret_(secret.size()),
      public_key_(std::move(public_key)),
      ledger_(std::make_unique<OpeningLedger>(owner_of(public_key_.id()))),
      last_(std::make_unique<LastOpening>()) {
  if (public_key_.engine() == Engine::kNative && secret.size() != kSecretKeyBytes) {
    throw ParameterError("a secret key has " + std::to_string(kSecretKeyBytes) + " bytes, not " +
                         std::to_string(secret.size()));
  }
  std::copy(secret.begin(), secret.end(), secret_.begin());  // perhaps none
}

SecretKey::SecretKey(SecretKey&&) noexcept = default;
SecretKey& SecretKey::operator=(SecretKey&&) noexcept = default;
SecretKey::~SecretKey() = default;

bool SecretKey::opens(const PublicKey& key) const noexcept {
  return key.id() == id() ||
         std::find(key.parts().begin(), key.parts().end(), id()) != key.parts().end();
}

namespace {

/// Names this thread for one scope.
class Making {
 public:
  explicit Making(std::atomic<std::thread::id>& thread) : thread_(thread) {
    thread_.store(std::this_thread::get_id(), std::memory_order_relaxed);
  }
  Making(const Making&) = delete;
  Making& operator=(const Making&) = delete;
  ~Making() { thread_.store({}, std::memory_order_relaxed); }

 private:
  std::atomic<std::thread::id>& thread_;
};

}  // namespace

SecretBuffer<std::uint8_t> LastOpening::get(
    const Digest& what, const std::function<void()>& may_make,
    const std::function<SecretBuffer<std::uint8_t>()>& make) {
  if (making_.load(std::memory_order_relaxed) == std::this_thread::get_id()) {
    throw RoundError(
        "this key is opening a sum, and was asked for another from within that: by an opener, or a "
        "signal's handler; open one after the other");
  }
  std::unique_lock<std::mutex> lock(guard_, std::defer_lock);
  if (process_.is_here()) {
    lock.lock();
  } else if (!lock.try_lock()) {
    // Forked while another thread of the parent was making something: nobody here will ever unlock.
    // What is made is not kept then.
    may_make();
    return make();
  }
  if (what_ != what) {
    const bool allowed = std::find(allowed_.begin(), allowed_.end(), what) != allowed_.end();
    if (!allowed || !process_.is_here()) {  // a fork allows it to neither twice
      may_make();
      if (!allowed) allowed_.push_back(what);
      if (allowed_.size() > kMostAllowed) allowed_.pop_front();
    }
    const Making making(making_);
    made_ = make();
    what_ = what;
    std::erase(allowed_, what);
  }
  SecretBuffer<std::uint8_t> copy(made_.size());
  std::copy(made_.begin(), made_.end(), copy.begin());
  return copy;
}

// The public half leads: it names the engine, and with it the length of the other.
Bytes SecretKey::to_bytes() const {
  return seal(ObjectKind::kSecretKey, {public_key_.fields(), secret()});
}

SecretKey SecretKey::from_bytes(ByteView bytes) {
  ByteReader in(open_envelope(bytes, ObjectKind::kSecretKey), "secret key");
  PublicKey public_key = PublicKey::read_fields(in);
  const ByteView secret = in.raw(in.remaining());
  try {
    return {secret, std::move(public_key)};
  } catch (const ParameterError& error) {
    in.fail(error.what());
  }
}

void SecretKey::save(const std::string& path) {
  Bytes bytes = to_bytes();
  const ByteView parts[] = {bytes};
  const std::string ledger = ledger_path(path);
  bool made = false;
  try {
    refuse_kept(path, bytes);
    // First the ledger: a key file without one was used elsewhere, and opens nothing.
    made = ledger_->keep_at(ledger);
    write_file(path, parts, FileKind::kSecret);
  } catch (...) {
    secure_wipe(bytes.data(), bytes.size());
    if (made) ledger_->take_back(ledger);
    throw;
  }
  secure_wipe(bytes.data(), bytes.size());
}

SecretKey SecretKey::load(const std::string& path) {
  refuse_other_kind(path, ObjectKind::kSecretKey);  // a public key in its place is no leak
  Bytes bytes = read_file(path, FileKind::kSecret);
  try {
    SecretKey key = from_bytes(bytes);
    secure_wipe(bytes.data(), bytes.size());
    refuse_hard_links(path);
    key.ledger_->attach(ledger_path(path));
    return key;
  } catch (...) {
    secure_wipe(bytes.data(), bytes.size());
    throw;
  }
}

}  // namespace veilsum::scheme
