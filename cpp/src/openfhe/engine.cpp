// Layer: openfhe. See engine.h. Fixed manual scaling, BV key switching (nothing switches keys;
// HYBRID would only enlarge the modulus), all slots used.
//
// A share is s * c1 + noise, as MultipartyDecryptMain's, and c0 is added when shares are fused:
// then no party leads, and a share says nothing without the blocks it belongs to. It is put
// together here, because OpenFHE chooses the noise of its own shares by what it knows: 2^20, or
// with NOISE_FLOODING_DECRYPT more but in two primes only.
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
Poly make_poly(const std::shared_ptr<Poly::Params>& params, Residues residues) {
  Poly poly(params, Format::EVALUATION, true);
  const auto& towers = params->GetParams();
  const std::size_t degree = params->GetRingDimension();
  const std::uint64_t* in = residues.data();
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
    throw ParameterError(std::string(what) + " has " + std::to_string(have) +
                         " items; it must have " + std::to_string(need));
  }
}

std::size_t whole_blocks(const char* what, std::size_t have, std::size_t each) {
  if (have % each != 0) {
    throw ParameterError(std::to_string(have) + " " + what + " are not whole blocks of " +
                         std::to_string(each));
  }
  return have / each;
}

}  // namespace

class Context::State {
 public:
  fhe::CryptoContext<Poly> context;
  std::shared_ptr<Poly::Params> params;
  Cipher model;  // of the form that every ciphertext has

  std::size_t degree() const { return params->GetRingDimension(); }
  std::size_t polynomial() const { return params->GetParams().size() * degree(); }

  Poly poly(Residues residues, std::size_t index) const {
    return make_poly(params, residues.subspan(index * polynomial(), polynomial()));
  }

  Cipher cipher(std::vector<Poly> polys, const std::string& tag = "") const {
    Cipher made = model->CloneEmpty();
    made->SetKeyTag(tag);
    made->SetElements(std::move(polys));
    return made;
  }

  fhe::PublicKey<Poly> public_key(Residues residues, const std::string& tag = "") const {
    check_length("the public key", residues.size(), 2 * polynomial());
    auto key = std::make_shared<fhe::PublicKeyImpl<Poly>>(context);
    std::vector<Poly> polys;
    for (const std::size_t i : {0, 1}) polys.push_back(poly(residues, i));
    key->SetPublicElements(std::move(polys));
    key->SetKeyTag(tag);
    return key;
  }
};

std::string library_version() { return VEILSUM_OPENFHE_VERSION; }

Context::Context(const ContextRequest& request) {
  const fhe::SecurityLevel level = level_of(request.security);
  if (request.primes != 1 && request.primes != 2) {
    throw ParameterError("a context has one prime or two");
  }
  auto state = std::make_shared<State>();
  try {
    const InnerRegionsSerial serial;
    fhe::CCParams<fhe::CryptoContextCKKSRNS> parameters;
    parameters.SetSecurityLevel(level);
    parameters.SetMultiplicativeDepth(request.primes - 1);
    parameters.SetScalingTechnique(fhe::FIXEDMANUAL);
    parameters.SetKeySwitchTechnique(fhe::BV);
    // Of real data OpenFHE's decoder hides its error with random noise of its own. Shares are
    // flooded already, and everybody who decrypts a sum must get the same values.
    parameters.SetCKKSDataType(fhe::COMPLEX);
    parameters.SetFirstModSize(request.first_bits);
    parameters.SetScalingModSize(request.scale_bits);
    parameters.SetRingDim(request.ring_degree);
    state->context = fhe::GenCryptoContext(parameters);
    for (const auto feature : {fhe::PKE, fhe::LEVELEDSHE, fhe::MULTIPARTY})
      state->context->Enable(feature);
    // Once through every step, on this one thread: OpenFHE fills tables of roots on first use.
    const auto& context = state->context;
    const auto keys = context->KeyGen();
    const std::vector<double> zeros(context->GetRingDimension() / 2, 0.0);
    state->model = context->Encrypt(keys.publicKey, context->MakeCKKSPackedPlaintext(zeros));
    const auto shares = context->MultipartyDecryptMain({state->model}, keys.secretKey);
    fhe::Plaintext plain;
    context->MultipartyDecryptFusion({state->model, shares.front()}, &plain);
    state->params = state->model->GetElements().front().GetParams();
  } catch (const std::bad_alloc&) {
    throw;
  } catch (const std::exception& error) {
    throw ParameterError("OpenFHE refuses a CKKS context of ring degree " +
                         std::to_string(request.ring_degree) + " at " +
                         std::to_string(request.security) + " bits: " + reason(error));
  }
  state_ = std::move(state);
}

std::size_t Context::ring_degree() const { return state_->degree(); }
std::size_t Context::polynomial() const { return state_->polynomial(); }

std::vector<std::uint64_t> Context::moduli() const {
  std::vector<std::uint64_t> out;
  for (const auto& tower : state_->params->GetParams()) {
    out.push_back(tower->GetModulus().ConvertToInt<std::uint64_t>());
  }
  return out;
}

std::vector<std::uint64_t> Context::roots() const {
  std::vector<std::uint64_t> out;
  for (const auto& tower : state_->params->GetParams()) {
    out.push_back(tower->GetRootOfUnity().ConvertToInt<std::uint64_t>());
  }
  return out;
}

void Context::keygen(Residues earlier, ResiduesOut secret, ResiduesOut public_key) const {
  check_length("the secret key", secret.size(), polynomial());
  check_length("the public key", public_key.size(), 2 * polynomial());
  guarded("make a key", [&] {
    const auto& context = state_->context;
    const auto pair = earlier.empty() ? context->KeyGen()
                                      : context->MultipartyKeyGen(state_->public_key(earlier));
    copy_out(pair.secretKey->GetPrivateElement(), secret.data());
    const auto& polys = pair.publicKey->GetPublicElements();
    for (const std::size_t i : {0, 1}) copy_out(polys[i], public_key.data() + i * polynomial());
  });
}

void Context::encrypt(Residues public_key, std::span<const double> values, ResiduesOut blocks,
                      int threads) const {
  const std::size_t width = slots(), each = 2 * polynomial();
  const std::size_t count = whole_blocks("values", values.size(), width);
  check_length("the output", blocks.size(), count * each);
  const auto key = translated("read a public key", [&] { return state_->public_key(public_key); });
  for_each_block("encrypt a block", count, threads, [&](std::size_t i) {
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(i * width);
    const std::vector<double> slice(begin, begin + static_cast<std::ptrdiff_t>(width));
    const auto& context = state_->context;
    const Cipher made = context->Encrypt(key, context->MakeCKKSPackedPlaintext(slice));
    std::uint64_t* place = blocks.data() + i * each;
    for (const Poly& poly : made->GetElements()) {
      copy_out(poly, place);
      place += polynomial();
    }
  });
}

void Context::share(Residues secret, Residues blocks, double deviation, ResiduesOut shares,
                    int threads) const {
  const std::size_t each = polynomial();
  const std::size_t count = whole_blocks("residues", blocks.size(), 2 * each);
  check_length("the secret key", secret.size(), each);
  check_length("the output", shares.size(), count * each);
  const std::vector<std::uint64_t> primes = moduli();
  const auto smallest = static_cast<double>(*std::min_element(primes.begin(), primes.end()));
  if (!(deviation > 0 && deviation <= smallest / 16)) {
    throw ParameterError(
        "the deviation of a share's noise lies above 0, and not above 1/16 of "
        "the smallest prime");
  }
  const Poly key = translated("read a secret key", [&] { return state_->poly(secret, 0); });
  for_each_block("make a decryption share", count, threads, [&](std::size_t i) {
    const Poly::DggType gaussian(deviation);
    Poly made(gaussian, state_->params, Format::EVALUATION);
    made += key * state_->poly(blocks, 2 * i + 1);
    copy_out(made, shares.data() + i * each);
  });
}

void Context::decrypt(Residues blocks, Residues shares, std::span<std::complex<double>> slots_out,
                      int threads) const {
  const std::size_t width = slots(), each = polynomial();
  const std::size_t count = whole_blocks("residues", blocks.size(), 2 * each);
  check_length("the share", shares.size(), count * each);
  check_length("the output", slots_out.size(), count * width);
  for_each_block("decrypt a block", count, threads, [&](std::size_t i) {
    fhe::Plaintext plain;
    // Fusion adds the first polynomials: c0, and the sum of the parties' shares.
    state_->context->MultipartyDecryptFusion(
        {state_->cipher({state_->poly(blocks, 2 * i)}), state_->cipher({state_->poly(shares, i)})},
        &plain);
    const auto& values = plain->GetCKKSPackedValue();
    std::copy_n(values.begin(), width, slots_out.begin() + static_cast<std::ptrdiff_t>(i * width));
  });
}

std::string Context::block_bytes(Residues block, const std::string& tag) const {
  check_length("the block", block.size(), 2 * polynomial());
  return guarded("write a block", [&] {
    return to_string(state_->cipher({state_->poly(block, 0), state_->poly(block, 1)}, tag));
  });
}

std::string Context::public_bytes(Residues public_key, const std::string& tag) const {
  return guarded("write a public key",
                 [&] { return to_string(state_->public_key(public_key, tag)); });
}

}  // namespace veilsum::openfhe
