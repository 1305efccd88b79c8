// Layer: openfhe. See engine.h. Fixed manual scaling, BV key switching (nothing switches keys;
// HYBRID would only enlarge the modulus), depth 1, all slots used.
//
// Partial decryptions are all of the kind MultipartyDecryptMain (s * c1 + noise), and c0 is added
// when they are fused: then no party leads, and a share says nothing without the blocks it belongs
// to.
#include "openfhe/engine.h"

#include <openfhe.h>

// Serialisation: these register the types with cereal and must follow openfhe.h.
#include <ciphertext-ser.h>
#include <cryptocontext-ser.h>
#include <key/key-ser.h>
#include <scheme/ckksrns/ckksrns-ser.h>

#include <algorithm>
#include <cstring>
#include <sstream>

#include "base/parallel.h"
#include "veilsum/errors.h"

namespace veilsum::openfhe {
namespace {

namespace fhe = lbcrypto;
using Poly = fhe::DCRTPoly;
using Tower = Poly::PolyType;
using Cipher = fhe::Ciphertext<Poly>;

static_assert(sizeof(fhe::NativeInteger) == sizeof(std::uint64_t));

constexpr std::uint32_t kDepth = 1;

/// OpenFHE throws its own exception; what it says begins with a source line, which helps nobody.
std::string reason(const std::exception& error) {
  const std::string text = error.what();
  const std::size_t at = text.find("(): ");
  return at == std::string::npos ? text : text.substr(at + 4);
}

/// Calls body(). What OpenFHE throws becomes a VeilsumError that says what was being done.
template <typename Body>
auto translated(const char* doing, Body body) {
  try {
    return body();
  } catch (const VeilsumError&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    throw VeilsumError(std::string("OpenFHE could not ") + doing + ": " + reason(error));
  }
}

/// Calls body(item) for all items on up to `threads` threads; OpenFHE's inner regions stay serial.
template <typename Body>
void for_each_block(const char* doing, std::size_t count, int threads, Body body) {
  translated(doing, [&] {
    parallel_for(
        count, threads, [] { return InnerRegionsSerial(); },
        [&](std::size_t item, InnerRegionsSerial&) { body(item); });
  });
}

/// The same for calls that are one item.
template <typename Body>
auto guarded(const char* doing, Body body) {
  return translated(doing, [&] {
    const InnerRegionsSerial serial;
    return body();
  });
}

template <typename Object>
std::string to_string(const Object& object) {
  std::ostringstream out(std::ios::binary);
  fhe::Serial::Serialize(object, out, fhe::SerType::BINARY);
  return std::move(out).str();
}

fhe::SecurityLevel level_of(std::uint32_t security) {
  switch (security) {
    case 0:
      return fhe::SecurityLevel::HEStd_NotSet;
    case 128:
      return fhe::SecurityLevel::HEStd_128_classic;
    case 192:
      return fhe::SecurityLevel::HEStd_192_classic;
    case 256:
      return fhe::SecurityLevel::HEStd_256_classic;
    default:
      throw ParameterError("security = " + std::to_string(security) +
                           " is unknown; use 128, 192 or 256");
  }
}

void copy_out(const Poly& poly, std::uint64_t* out) {
  for (const Tower& tower : poly.GetAllElements()) {
    const auto& values = tower.GetValues();
    for (std::size_t j = 0; j < values.GetLength(); ++j) {
      *out++ = values[static_cast<std::uint32_t>(j)].ConvertToInt<std::uint64_t>();
    }
  }
}

/// A polynomial in evaluation form from residues that are checked here.
Poly make_poly(const std::shared_ptr<Poly::Params>& params, const std::uint64_t* in) {
  Poly poly(params, Format::EVALUATION, true);
  const auto& towers = params->GetParams();
  const std::size_t degree = params->GetRingDimension();
  for (std::size_t t = 0; t < towers.size(); ++t) {
    const auto& modulus = towers[t]->GetModulus();
    const std::uint64_t prime = modulus.ConvertToInt<std::uint64_t>();
    fhe::NativeVector values(static_cast<std::uint32_t>(degree), modulus);
    for (std::size_t j = 0; j < degree; ++j, ++in) {
      if (*in >= prime) {
        throw WireFormatError("residue " + std::to_string(j) + " of prime " + std::to_string(t) +
                              " is not below it; the bytes were damaged or made up");
      }
      values[static_cast<std::uint32_t>(j)] = fhe::NativeInteger(*in);
    }
    Tower tower(towers[t], Format::EVALUATION, true);
    tower.SetValues(std::move(values), Format::EVALUATION);
    poly.SetElementAtIndex(static_cast<std::uint32_t>(t), std::move(tower));
  }
  return poly;
}

void check_length(const char* what, std::size_t have, std::size_t need) {
  if (have != need) {
    throw WireFormatError(std::string(what) + " has " + std::to_string(have) +
                          " residues; it must have " + std::to_string(need));
  }
}

}  // namespace

class ContextState {
 public:
  fhe::CryptoContext<Poly> context;
  std::shared_ptr<Poly::Params> full;      // both primes
  std::shared_ptr<Poly::Params> rescaled;  // the first one
  Cipher model_full;                       // of the form that every ciphertext has
  Cipher model_rescaled;
};

struct PublicKey::State {
  fhe::PublicKey<Poly> key;
};
struct SecretKey::State {
  fhe::PrivateKey<Poly> key;
};
struct Blocks::State {
  std::vector<Cipher> items;
  Shape shape;
};

namespace {

Blocks make_blocks(std::vector<Cipher> items, Shape shape) {
  return Blocks(std::make_shared<Blocks::State>(Blocks::State{std::move(items), shape}));
}

const std::shared_ptr<Poly::Params>& params_of(const ContextState& state, Shape shape) {
  return shape.rescaled ? state.rescaled : state.full;
}

}  // namespace

std::string library_version() { return VEILSUM_OPENFHE_VERSION; }

std::string PublicKey::tag() const { return state_->key->GetKeyTag(); }
std::string SecretKey::tag() const { return state_->key->GetKeyTag(); }
std::size_t Blocks::count() const { return state_->items.size(); }
Shape Blocks::shape() const { return state_->shape; }

Context::Context(const ContextRequest& request) {
  const fhe::SecurityLevel level = level_of(request.security);
  auto state = std::make_shared<ContextState>();
  try {
    const InnerRegionsSerial serial;
    fhe::CCParams<fhe::CryptoContextCKKSRNS> parameters;
    parameters.SetSecurityLevel(level);
    parameters.SetMultiplicativeDepth(kDepth);
    parameters.SetScalingTechnique(fhe::FIXEDMANUAL);
    parameters.SetKeySwitchTechnique(fhe::BV);
    // Of real data OpenFHE's decoder hides its error with random noise of its own. Shares are
    // flooded already, and everybody who decrypts a sum must get the same values.
    parameters.SetCKKSDataType(fhe::COMPLEX);
    parameters.SetFirstModSize(request.first_bits);
    parameters.SetScalingModSize(request.scale_bits);
    if (request.ring_degree != 0) parameters.SetRingDim(request.ring_degree);
    if (request.flooding) {
      parameters.SetDecryptionNoiseMode(fhe::NOISE_FLOODING_DECRYPT);
      parameters.SetExecutionMode(fhe::EXEC_EVALUATION);
      parameters.SetNoiseEstimate(request.noise_bits);
    }
    state->context = fhe::GenCryptoContext(parameters);
    for (const auto feature : {fhe::PKE, fhe::LEVELEDSHE, fhe::MULTIPARTY})
      state->context->Enable(feature);
    // Once through every step, on this one thread: OpenFHE fills tables of roots on first use.
    const auto& context = state->context;
    const auto keys = context->KeyGen();
    const std::vector<double> zeros(context->GetRingDimension() / 2, 0.0);
    state->model_full = context->Encrypt(keys.publicKey, context->MakeCKKSPackedPlaintext(zeros));
    state->model_rescaled = context->Rescale(context->EvalMult(state->model_full, 0.5));
    for (const Cipher& model : {state->model_full, state->model_rescaled}) {
      const auto shares = context->MultipartyDecryptMain({model}, keys.secretKey);
      fhe::Plaintext plain;
      context->MultipartyDecryptFusion({model, shares.front()}, &plain);
    }
    state->full = state->model_full->GetElements().front().GetParams();
    state->rescaled = state->model_rescaled->GetElements().front().GetParams();
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    throw ParameterError("OpenFHE refuses a CKKS context of ring degree " +
                         std::to_string(request.ring_degree) + " at " +
                         std::to_string(request.security) + " bits: " + reason(error));
  }
  state_ = std::move(state);
}

std::size_t Context::ring_degree() const { return state_->context->GetRingDimension(); }

std::vector<std::uint64_t> Context::moduli() const {
  std::vector<std::uint64_t> out;
  for (const auto& tower : state_->full->GetParams()) {
    out.push_back(tower->GetModulus().ConvertToInt<std::uint64_t>());
  }
  return out;
}

std::vector<std::uint64_t> Context::roots() const {
  std::vector<std::uint64_t> out;
  for (const auto& tower : state_->full->GetParams()) {
    out.push_back(tower->GetRootOfUnity().ConvertToInt<std::uint64_t>());
  }
  return out;
}

double Context::flooding_deviation() const {
  const auto parameters =
      std::dynamic_pointer_cast<fhe::CryptoParametersRNS>(state_->context->GetCryptoParameters());
  if (parameters->GetDecryptionNoiseMode() != fhe::NOISE_FLOODING_DECRYPT) {
    return static_cast<double>(fhe::NoiseFlooding::MP_SD);
  }
  return parameters->GetFloodingDistributionParameter();
}

std::string Context::serialised() const {
  return guarded("write the context", [&] { return to_string(state_->context); });
}

KeyPair Context::keygen() const {
  return guarded("make a key", [&] {
    const auto pair = state_->context->KeyGen();
    return KeyPair{SecretKey(std::make_shared<SecretKey::State>(SecretKey::State{pair.secretKey})),
                   PublicKey(std::make_shared<PublicKey::State>(PublicKey::State{pair.publicKey}))};
  });
}

KeyPair Context::next_party(const PublicKey& earlier) const {
  return guarded("join a party's key", [&] {
    const auto pair = state_->context->MultipartyKeyGen(earlier.state().key);
    return KeyPair{SecretKey(std::make_shared<SecretKey::State>(SecretKey::State{pair.secretKey})),
                   PublicKey(std::make_shared<PublicKey::State>(PublicKey::State{pair.publicKey}))};
  });
}

Blocks Context::encrypt(const PublicKey& key, std::span<const double> values, int threads) const {
  const std::size_t width = slots();
  if (values.size() % width != 0) {
    throw ParameterError(std::to_string(values.size()) + " values are not whole blocks of " +
                         std::to_string(width));
  }
  std::vector<Cipher> items(values.size() / width);
  for_each_block("encrypt a block", items.size(), threads, [&](std::size_t i) {
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(i * width);
    const std::vector<double> slice(begin, begin + static_cast<std::ptrdiff_t>(width));
    const auto& context = state_->context;
    items[i] = context->Encrypt(key.state().key, context->MakeCKKSPackedPlaintext(slice));
  });
  return make_blocks(std::move(items), {});
}

Blocks Context::sum(const std::vector<Blocks>& terms, const std::vector<double>& weights,
                    int threads) const {
  if (terms.empty()) throw ParameterError("there is nothing to sum");
  if (!weights.empty() && weights.size() != terms.size()) {
    throw ParameterError(std::to_string(weights.size()) + " weights for " +
                         std::to_string(terms.size()) + " uploads");
  }
  const Shape shape = terms.front().shape();
  for (const Blocks& term : terms) {
    if (term.count() != terms.front().count() || term.shape().elements != 2 ||
        term.shape().rescaled != shape.rescaled || (shape.rescaled && !weights.empty())) {
      throw ParameterError("the terms of a sum are not blocks of one kind and number");
    }
  }
  std::vector<Cipher> items(terms.front().count());
  for_each_block("sum a block", items.size(), threads, [&](std::size_t i) {
    const auto& context = state_->context;
    Cipher total;
    for (std::size_t k = 0; k < terms.size(); ++k) {
      const Cipher& term = terms[k].state().items[i];
      if (weights.empty()) {
        if (k == 0) {
          total = term->Clone();
        } else {
          context->EvalAddInPlace(total, term);
        }
      } else {
        const Cipher scaled = context->EvalMult(term, weights[k]);
        if (k == 0) {
          total = scaled;
        } else {
          context->EvalAddInPlace(total, scaled);
        }
      }
    }
    if (!weights.empty()) context->RescaleInPlace(total);
    items[i] = std::move(total);
  });
  return make_blocks(std::move(items), {2, shape.rescaled || !weights.empty()});
}

Blocks Context::share(const SecretKey& key, const Blocks& blocks, int threads) const {
  std::vector<Cipher> items(blocks.count());
  for_each_block("make a decryption share", items.size(), threads, [&](std::size_t i) {
    items[i] =
        state_->context->MultipartyDecryptMain({blocks.state().items[i]}, key.state().key).front();
  });
  return make_blocks(std::move(items), {1, blocks.shape().rescaled});
}

Blocks Context::add_shares(const std::vector<Blocks>& shares, int threads) const {
  if (shares.empty()) throw ParameterError("there are no shares to add");
  for (const Blocks& share : shares) {
    if (share.shape().elements != 1 || share.count() != shares.front().count() ||
        share.shape().rescaled != shares.front().shape().rescaled) {
      throw ParameterError("the shares are not of the same blocks");
    }
  }
  std::vector<Cipher> items(shares.front().count());
  for_each_block("add shares", items.size(), threads, [&](std::size_t i) {
    items[i] = shares.front().state().items[i]->Clone();
    Poly& total = items[i]->GetElements().front();
    for (std::size_t k = 1; k < shares.size(); ++k) {
      total += shares[k].state().items[i]->GetElements().front();
    }
  });
  return make_blocks(std::move(items), shares.front().shape());
}

void Context::decrypt(const Blocks& blocks, const Blocks& shares,
                      std::span<std::complex<double>> out, int threads) const {
  const std::size_t width = slots();
  if (out.size() != blocks.count() * width || shares.count() != blocks.count() ||
      shares.shape().elements != 1 || shares.shape().rescaled != blocks.shape().rescaled) {
    throw ParameterError("blocks, shares and values do not fit each other");
  }
  for_each_block("decrypt a block", blocks.count(), threads, [&](std::size_t i) {
    fhe::Plaintext plain;
    // Fusion adds the first polynomials: c0, and the sum of the parties' shares.
    state_->context->MultipartyDecryptFusion({blocks.state().items[i], shares.state().items[i]},
                                             &plain);
    const auto& values = plain->GetCKKSPackedValue();
    std::copy_n(values.begin(), width, out.begin() + static_cast<std::ptrdiff_t>(i * width));
  });
}

std::size_t Context::residues(Shape shape) const {
  return shape.elements * params_of(*state_, shape)->GetParams().size() * ring_degree();
}

void Context::write(const Blocks& blocks, std::size_t first, std::size_t count,
                    std::span<std::uint64_t> out, int threads) const {
  const std::size_t each = residues(blocks.shape());
  if (first > blocks.count() || count > blocks.count() - first || out.size() != count * each) {
    throw ParameterError("the range of blocks does not fit");
  }
  for_each_block("write a block", count, threads, [&](std::size_t i) {
    std::uint64_t* place = out.data() + i * each;
    for (const Poly& poly : blocks.state().items[first + i]->GetElements()) {
      copy_out(poly, place);
      place += each / blocks.shape().elements;
    }
  });
}

Blocks Context::read(const PublicKey& key, std::span<const std::uint64_t> residues_in, Shape shape,
                     int threads) const {
  if (shape.elements != 1 && shape.elements != 2) {
    throw ParameterError("blocks have one or two polynomials");
  }
  const std::size_t each = residues(shape);
  if (residues_in.size() % each != 0) {
    throw WireFormatError(std::to_string(residues_in.size()) +
                          " residues are not whole blocks of " + std::to_string(each));
  }
  const Cipher& model = shape.rescaled ? state_->model_rescaled : state_->model_full;
  const auto& params = params_of(*state_, shape);
  std::vector<Cipher> items(residues_in.size() / each);
  for_each_block("read a block", items.size(), threads, [&](std::size_t i) {
    std::vector<Poly> polys;
    polys.reserve(shape.elements);
    for (std::uint32_t e = 0; e < shape.elements; ++e) {
      polys.push_back(
          make_poly(params, residues_in.data() + i * each + e * (each / shape.elements)));
    }
    Cipher item = model->CloneEmpty();
    item->SetKeyTag(key.state().key->GetKeyTag());
    item->SetElements(std::move(polys));
    items[i] = std::move(item);
  });
  return make_blocks(std::move(items), shape);
}

Blocks Context::join(const std::vector<Blocks>& parts) const {
  if (parts.empty()) throw ParameterError("there are no blocks to join");
  std::vector<Cipher> items;
  for (const Blocks& part : parts) {
    if (part.shape().elements != parts.front().shape().elements ||
        part.shape().rescaled != parts.front().shape().rescaled) {
      throw ParameterError("the parts are not blocks of one kind");
    }
    items.insert(items.end(), part.state().items.begin(), part.state().items.end());
  }
  return make_blocks(std::move(items), parts.front().shape());
}

std::string Context::serialised(const Blocks& blocks, std::size_t index) const {
  if (index >= blocks.count()) {
    throw ParameterError("block " + std::to_string(index) + " of " +
                         std::to_string(blocks.count()));
  }
  return guarded("write a block", [&] { return to_string(blocks.state().items[index]); });
}

std::vector<std::uint64_t> Context::write(const PublicKey& key) const {
  const auto& polys = key.state().key->GetPublicElements();
  const std::size_t each = residues({1, false});
  std::vector<std::uint64_t> out(polys.size() * each);
  for (std::size_t e = 0; e < polys.size(); ++e) copy_out(polys[e], out.data() + e * each);
  return out;
}

PublicKey Context::read_public(std::span<const std::uint64_t> residues_in,
                               const std::string& tag) const {
  check_length("the public key", residues_in.size(), residues({2, false}));
  return guarded("read a public key", [&] {
    auto key = std::make_shared<fhe::PublicKeyImpl<Poly>>(state_->context);
    std::vector<Poly> polys;
    polys.push_back(make_poly(state_->full, residues_in.data()));
    polys.push_back(make_poly(state_->full, residues_in.data() + residues({1, false})));
    key->SetPublicElements(std::move(polys));
    key->SetKeyTag(tag);
    return PublicKey(std::make_shared<PublicKey::State>(PublicKey::State{std::move(key)}));
  });
}

std::string Context::serialised(const PublicKey& key) const {
  return guarded("write a public key", [&] { return to_string(key.state().key); });
}

std::vector<std::uint64_t> Context::write(const SecretKey& key) const {
  std::vector<std::uint64_t> out(residues({1, false}));
  copy_out(key.state().key->GetPrivateElement(), out.data());
  return out;
}

SecretKey Context::read_secret(std::span<const std::uint64_t> residues_in,
                               const std::string& tag) const {
  check_length("the secret key", residues_in.size(), residues({1, false}));
  return guarded("read a secret key", [&] {
    auto key = std::make_shared<fhe::PrivateKeyImpl<Poly>>(state_->context);
    key->SetPrivateElement(make_poly(state_->full, residues_in.data()));
    key->SetKeyTag(tag);
    return SecretKey(std::make_shared<SecretKey::State>(SecretKey::State{std::move(key)}));
  });
}

}  // namespace veilsum::openfhe
