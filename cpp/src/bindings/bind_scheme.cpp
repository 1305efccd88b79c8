// Layer: bindings. Plans, keys, rounds, uploads, sum keys.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <tuple>

#include "base/file_io.h"
#include "bindings/arrays.h"
#include "bindings/conversions.h"
#include "bindings/docstrings.h"
#include "bindings/register.h"
#include "cipher/prepared.h"
#include "scheme/kept_files.h"
#include "scheme/keys.h"
#include "scheme/opening.h"
#include "scheme/plan.h"
#include "scheme/public_identity.h"
#include "scheme/round.h"
#include "scheme/upload.h"
#include "scheme/wire.h"
#include "veilsum/errors.h"

namespace veilsum::bindings {
namespace {

using scheme::Cipher;
using scheme::Plan;
using scheme::ResidueCipher;
using scheme::Round;
using scheme::SecretKey;

Plan make_plan(std::int64_t clients, std::int64_t value_bits, std::int64_t weight_bits,
               std::int64_t security, const Word& optimise, const Word& profile) {
  scheme::PlanRequest request;
  request.clients = not_negative("clients", clients);
  request.value_bits = not_negative("value_bits", value_bits);
  request.weight_bits = not_negative("weight_bits", weight_bits);
  request.security = not_negative("security", security);
  request.profile = profile;
  if (optimise == "size") {
    request.optimise = scheme::Optimise::kSize;
  } else if (optimise != "speed") {
    throw ParameterError("optimise = " + shown(optimise) +
                         " is unknown; use \"speed\" or \"size\"");
  }
  return Plan(request);
}

std::shared_ptr<ResidueCipher> make_residue_cipher(std::uint8_t engine, const py::buffer& fields,
                                                   std::uint64_t clients, std::uint64_t weight_bits,
                                                   std::uint64_t max_weight,
                                                   std::uint64_t block_values,
                                                   std::vector<std::uint64_t> moduli,
                                                   std::uint64_t row_words) {
  const BufferView view(fields);
  scheme::ResidueFields given;
  given.engine = static_cast<scheme::Engine>(engine);
  given.fields.assign(view.view().begin(), view.view().end());
  given.clients = clients;
  given.weight_bits = weight_bits;
  given.max_weight = max_weight;
  given.block_values = block_values;
  given.moduli = std::move(moduli);
  given.row_words = row_words;
  return std::make_shared<ResidueCipher>(std::move(given));
}

/// Asks Python for the cipher of a plan's fields.
class PythonCipherReader final : public scheme::CipherReader {
 public:
  explicit PythonCipherReader(const py::function& callable) : callable_(callable) {}
  std::shared_ptr<const Cipher> read(ByteView fields) const override {
    const py::object made = callable_(to_python(fields));
    if (!py::isinstance<Cipher>(made)) throw ParameterError("its plan was read as no plan");
    return made.cast<const Cipher&>().shared_from_this();
  }

 private:
  const py::function& callable_;
};

constexpr const char* kOtherHalf =
    "the secret key's halves do not belong together: its public half is another key's; restore the "
    "key from a copy";

/// Asks Python, which knows the KEM. Keys of other engines are their own business.
bool halves_match(const scheme::SecretKey& key) {
  if (key.public_key().engine() != scheme::Engine::kNative || !public_half()) return true;
  const py::bytes found = public_half()(to_python(key.secret()));
  const ByteView body = key.public_key().body();
  return BufferView(found).view().size() == body.size() &&
         std::equal(body.begin(), body.end(), BufferView(found).view().begin());
}

void save_public(const std::string& path, const Bytes& bytes) {
  const ByteView parts[] = {bytes};
  scheme::write_object(path, parts, FileKind::kPublic);
}

/// (tag key's commitment, public reading key).
using GroupFields = std::pair<py::buffer, py::buffer>;
/// (training, step, purpose, history).
using StepFields = std::tuple<py::buffer, std::int64_t, Word, py::buffer>;

Round make_round(const Cipher& cipher, const py::object& authority,
                 const std::vector<std::pair<std::uint64_t, double>>& segments,
                 const py::bytes& layout, std::int64_t min_clients,
                 const std::vector<scheme::PublicIdentity>& roster, std::int64_t upload_keys,
                 bool trust_aggregator, const std::optional<GroupFields>& group,
                 const std::optional<scheme::PublicIdentity>& reader,
                 const std::optional<StepFields>& step) {
  scheme::RoundFields fields;
  for (const auto& [count, limit] : segments) fields.segments.push_back({count, limit});
  fields.layout = std::string(layout);
  fields.min_clients = not_negative("min_clients", min_clients);
  fields.upload_keys = not_negative("upload_keys", upload_keys);
  fields.roster = roster;
  fields.trust_aggregator = trust_aggregator;
  fields.reader = reader;
  if (group) {
    constexpr std::size_t kBytes = scheme::GroupCommitment::kKemKeyBytes;
    fields.group = {fixed_bytes<32>(group->first, "a group's tag commitment"),
                    fixed_bytes<kBytes>(group->second, "a group's reading key")};
  }
  if (step) {
    const auto& [training, number, purpose, history] = *step;
    fields.step = {fixed_bytes<32>(training, "a training's id"), not_negative("step", number),
                   purpose, fixed_bytes<32>(history, "a history")};
  }
  if (py::isinstance<scheme::Committee>(authority)) {
    return Round(cipher.shared_from_this(), authority.cast<const scheme::Committee&>(),
                 std::move(fields));
  }
  if (!py::isinstance<scheme::PublicKey>(authority)) {
    throw ParameterError("a round's authority is a public key or a committee");
  }
  return Round(cipher.shared_from_this(), authority.cast<const scheme::PublicKey&>(),
               std::move(fields));
}

void register_plan(py::module_& m) {
  py::class_<Cipher, std::shared_ptr<Cipher>>(m, "Cipher", "What the rules know of a plan.")
      .def_property_readonly("engine",
                             [](const Cipher& self) { return static_cast<int>(self.engine()); })
      .def_property_readonly("clients", &Cipher::clients)
      .def_property_readonly("weight_bits", &Cipher::weight_bits)
      .def_property_readonly("max_weight", &Cipher::max_weight)
      .def_property_readonly("block_values", &Cipher::block_capacity)
      .def_property_readonly("block_bytes", &Cipher::full_block_bytes)
      .def_property_readonly("id", [](const Cipher& self) { return to_python(self.id()); })
      .def_property_readonly("fields",
                             [](const Cipher& self) {
                               ByteWriter out(Cipher::kFieldBytes);
                               self.write_fields(out);
                               return to_python(out.bytes());
                             })
      .def(
          "upload_bytes",
          [](const Cipher& self, std::int64_t size) {
            const std::uint64_t values = not_negative("size", size);
            if (values == 0 || values > scheme::kMaxValues) {
              throw ParameterError("size = " + shown(size) + " is outside 1 ... 2^40");
            }
            return scheme::least_head_bytes(self) + self.payload_bytes(values) +
                   self.default_upload_keys(values) * self.full_block_bytes() +
                   scheme::kEnvelopeTrailerBytes;
          },
          py::arg("size"))
      .def_property_readonly("fixed_bytes",
                             [](const Cipher& self) {
                               return scheme::least_head_bytes(self) +
                                      self.default_upload_keys(1) * self.full_block_bytes() +
                                      scheme::kEnvelopeTrailerBytes;
                             })
      .def("__eq__",
           [](const Cipher& self, const py::object& other) {
             return py::isinstance<Cipher>(other) && self == other.cast<const Cipher&>();
           })
      .def("__hash__", [](const Cipher& self) { return py::hash(to_python(self.id())); });

  py::class_<ResidueCipher, Cipher, std::shared_ptr<ResidueCipher>>(
      m, "ResidueCipher", "An engine whose blocks are rows of 64-bit words modulo given numbers.")
      .def(py::init(&make_residue_cipher), py::kw_only(), py::arg("engine"), py::arg("fields"),
           py::arg("clients"), py::arg("weight_bits"), py::arg("max_weight"),
           py::arg("block_values"), py::arg("moduli"), py::arg("row_words"));

  py::class_<Plan, Cipher, std::shared_ptr<Plan>>(m, "Plan", docs::kPlan)
      .def(py::init(&make_plan), py::arg("clients"), py::arg("value_bits") = 16, py::kw_only(),
           py::arg("weight_bits") = 0, py::arg("security") = 128, py::arg("optimise") = "speed",
           py::arg("profile") = "auto")
      .def_property_readonly("value_bits", &Plan::value_bits)
      .def_property_readonly("security", &Plan::security)
      .def_property_readonly("optimise",
                             [](const Plan& plan) {
                               return plan.optimise() == scheme::Optimise::kSize ? "size" : "speed";
                             })
      .def_property_readonly("profile", &Plan::profile)
      .def_property_readonly("ring_degree", &Plan::degree)
      .def_property_readonly("limbs", &Plan::limbs)
      .def_property_readonly("log2_modulus", &Plan::log2_modulus)
      .def_property_readonly("digits", &Plan::digits)
      .def_property_readonly("base", &Plan::base)
      .def_property_readonly("field_bits", &Plan::field_bits)
      .def_property_readonly("noise_bound", &Plan::noise_bound)
      .def_property_readonly(
          "delta",
          [](const Plan& plan) {
            const ring::WideInteger& delta = plan.delta();
            py::int_ value(0);
            for (unsigned i = 5; i-- > 0;) {
              value = py::int_(value.attr("__lshift__")(52).attr("__or__")(delta.word52(i)));
            }
            return value;
          })
      .def_property_readonly("bits_per_value", &Plan::bits_per_value)
      .def_property_readonly("failure_probability", [](const Plan&) { return 0.0; })
      .def_property_readonly("error_bound", [](const Plan&) { return 0.0; })
      .def_property_readonly("parties", [](const Plan&) { return 1; })
      .def_property_readonly(
          "facts",
          [](const Plan& self) { return std::const_pointer_cast<Cipher>(self.shared_from_this()); })
      .def("explain", &Plan::explain)
      .def("__str__", &Plan::explain)
      .def("__repr__",
           [](const Plan& plan) {
             std::string text = "Plan(clients=" + std::to_string(plan.clients()) +
                                ", value_bits=" + std::to_string(plan.value_bits());
             if (plan.weight_bits() != 0) {
               text += ", weight_bits=" + std::to_string(plan.weight_bits());
             }
             return text + ", security=" + std::to_string(plan.security()) + ", profile='" +
                    plan.profile() + "', digits=" + std::to_string(plan.digits()) +
                    ", field_bits=" + std::to_string(plan.field_bits()) + ")";
           })
      .def_static(
          "from_fields",
          [](const py::buffer& fields) {
            const BufferView view(fields);
            ByteReader in(view.view(), "plan");
            Plan plan = Plan::read_fields(in);
            in.finish();
            return plan;
          },
          py::arg("fields"));
}

void register_keys(py::module_& m) {
  using scheme::PublicKey;
  py::class_<PublicKey>(m, "PublicKey", docs::kPublicKey)
      .def(py::init([](std::uint8_t engine, const py::buffer& body,
                       const std::vector<py::buffer>& parts) {
             std::vector<scheme::KeyId> ids;
             ids.reserve(parts.size());
             for (const py::buffer& part : parts)
               ids.push_back(fixed_bytes<16>(part, "a key's id"));
             return PublicKey(static_cast<scheme::Engine>(engine), BufferView(body).view(),
                              std::move(ids));
           }),
           py::arg("engine"), py::arg("body"), py::arg("parts") = std::vector<py::buffer>{})
      .def_property_readonly("engine",
                             [](const PublicKey& key) { return static_cast<int>(key.engine()); })
      .def_property_readonly("body", [](const PublicKey& key) { return to_python(key.body()); })
      .def_property_readonly("parts",
                             [](const PublicKey& key) {
                               std::vector<py::bytes> out;
                               for (const auto& part : key.parts()) out.push_back(to_python(part));
                               return out;
                             })
      .def("__eq__",
           [](const PublicKey& key, const py::object& other) {
             return py::isinstance<PublicKey>(other) &&
                    key.id() == other.cast<const PublicKey&>().id();
           })
      .def("__hash__", [](const PublicKey& key) { return py::hash(to_python(key.id())); })
      .def_property_readonly("id", [](const PublicKey& key) { return to_python(key.id()); })
      .def("__repr__",
           [](const PublicKey& key) { return "<veilsum.PublicKey " + to_hex(key.id()) + ">"; })
      .def("to_bytes", [](const PublicKey& key) { return to_python(key.to_bytes()); })
      .def_static(
          "from_bytes",
          [](const py::buffer& data) { return PublicKey::from_bytes(BufferView(data).view()); },
          py::arg("data"))
      .def(
          "save",
          [](const PublicKey& key, const std::filesystem::path& path) {
            save_public(path.string(), key.to_bytes());
          },
          py::arg("path"))
      .def_static(
          "load",
          [](const std::filesystem::path& path) {
            return naming(path, [&] {
              return PublicKey::from_bytes(read_file(path.string(), FileKind::kPublic));
            });
          },
          py::arg("path"));

  py::class_<SecretKey>(m, "SecretKey", docs::kSecretKey)
      .def(py::init([](const py::buffer& secret, const PublicKey& public_key) {
             SecretKey key(BufferView(secret).view(), public_key);
             if (!halves_match(key)) throw ParameterError(kOtherHalf);
             return key;
           }),
           py::arg("secret"), py::arg("public"))
      .def_property_readonly("id", [](const SecretKey& key) { return to_python(key.id()); })
      .def_property_readonly("public_key", &SecretKey::public_key)
      .def("__repr__",
           [](const SecretKey& key) { return "<veilsum.SecretKey " + to_hex(key.id()) + ">"; })
      .def("__reduce__", [](const SecretKey&) { refuse_pickle("SecretKey"); })
      .def("to_bytes", [](const SecretKey& key) { return secret_to_python(key.to_bytes()); })
      .def_static(
          "from_bytes",
          [](const py::buffer& data) {
            SecretKey key = SecretKey::from_bytes(BufferView(data).view());
            if (!halves_match(key)) throw WireFormatError(kOtherHalf);
            return key;
          },
          py::arg("data"))
      .def(
          "save",
          [](SecretKey& key, const std::filesystem::path& path) { key.save(path.string()); },
          py::arg("path"))
      .def_static(
          "load",
          [](const std::filesystem::path& path) {
            return naming(path, [&] {
              SecretKey key = SecretKey::load(path.string());
              if (!halves_match(key)) throw WireFormatError(kOtherHalf);
              return key;
            });
          },
          py::arg("path"));
}

void register_identity(py::module_& m) {
  using scheme::PublicIdentity;
  py::class_<PublicIdentity>(m, "PublicIdentity", docs::kPublicIdentity)
      .def(py::init(
               [](const py::buffer& fields) { return PublicIdentity(BufferView(fields).view()); }),
           py::arg("fields"))
      .def(py::init<const PublicIdentity&>(), py::arg("other"))
      .def("__eq__",
           [](const PublicIdentity& self, const py::object& other) {
             return py::isinstance<PublicIdentity>(other) &&
                    self == other.cast<const PublicIdentity&>();
           })
      .def("__hash__", [](const PublicIdentity& self) { return py::hash(to_python(self.id())); })
      .def_property_readonly("id", [](const PublicIdentity& self) { return to_python(self.id()); })
      .def_property_readonly("fields",
                             [](const PublicIdentity& self) { return to_python(self.fields()); })
      .def_property_readonly("post_quantum",
                             [](const PublicIdentity& self) {
                               return self.kind() == scheme::SignatureKind::kPostQuantum;
                             })
      .def_property_readonly(
          "signature_bytes",
          [](const PublicIdentity& self) { return scheme::signature_bytes(self.kind()); })
      .def_property_readonly(
          "ed25519", [](const PublicIdentity& self) { return to_python(self.verification_key()); })
      .def_property_readonly("kem",
                             [](const PublicIdentity& self) { return to_python(self.kem_key()); })
      .def_property_readonly(
          "ml_dsa",
          [](const PublicIdentity& self) { return to_python(self.lattice_verification_key()); })
      .def("to_bytes", [](const PublicIdentity& self) { return to_python(self.to_bytes()); })
      .def_static(
          "from_bytes",
          [](const py::buffer& data) {
            return PublicIdentity::from_bytes(BufferView(data).view());
          },
          py::arg("data"));
  m.def(
      "check_distinct",
      [](const std::vector<PublicIdentity>& roster) { scheme::check_distinct(roster); },
      py::arg("roster"), "Refuses a roster in which two identities have a key in common.");
}

void register_committee(py::module_& m) {
  using scheme::Committee;
  py::class_<Committee>(m, "Committee", "The members who open a sum together.")
      .def(py::init([](const std::vector<scheme::PublicIdentity>& members, std::int64_t threshold) {
             return Committee(members, not_negative("threshold", threshold));
           }),
           py::arg("members"), py::arg("threshold"))
      .def(py::init<const Committee&>(), py::arg("other"))
      .def("__eq__",
           [](const Committee& self, const py::object& other) {
             return py::isinstance<Committee>(other) && self == other.cast<const Committee&>();
           })
      .def("__hash__", [](const Committee& self) { return py::hash(to_python(self.id())); })
      .def_property_readonly("id", [](const Committee& self) { return to_python(self.id()); })
      .def_property_readonly("threshold", &Committee::threshold)
      .def_property_readonly("members", [](const Committee& self) { return self.members(); });
}

void register_round(py::module_& m) {
  py::class_<Round>(m, "Round", "The public description of one sum.")
      .def(py::init(&make_round), py::arg("cipher"), py::arg("authority"), py::arg("segments"),
           py::arg("layout") = py::bytes(), py::arg("min_clients") = 2,
           py::arg("roster") = std::vector<scheme::PublicIdentity>{}, py::arg("upload_keys") = 0,
           py::arg("trust_aggregator") = false, py::arg("group") = py::none(),
           py::arg("reader") = py::none(), py::arg("step") = py::none())
      .def(py::init<const Round&>(), py::arg("other"))
      .def_property_readonly(
          "cipher",
          [](const Round& round) { return std::const_pointer_cast<Cipher>(round.shared_cipher()); })
      .def_property_readonly("trust_aggregator", &Round::trust_aggregator)
      .def_property_readonly("public", &Round::public_key)
      .def_property_readonly("committee",
                             [](const Round& round) -> std::optional<scheme::Committee> {
                               if (round.committee() == nullptr) return std::nullopt;
                               return *round.committee();
                             })
      .def_property_readonly("tagged", &Round::tagged)
      .def_property_readonly(
          "group",
          [](const Round& round) -> std::optional<std::pair<py::bytes, py::bytes>> {
            if (!round.group()) return std::nullopt;
            return std::pair(to_python(round.group()->tag_key),
                             to_python(round.group()->reading_key));
          })
      .def_property_readonly("reader", &Round::reader)
      .def_property_readonly(
          "step",
          [](const Round& round)
              -> std::optional<std::tuple<py::bytes, std::uint64_t, std::string, py::bytes>> {
            if (!round.step()) return std::nullopt;
            const scheme::TrainingStep& at = *round.step();
            return std::tuple(to_python(at.training), at.step, at.purpose, to_python(at.history));
          })
      .def_property_readonly("check_blocks", &Round::check_blocks)
      .def_property_readonly("id", [](const Round& round) { return to_python(round.id()); })
      .def_property_readonly("seed", [](const Round& round) { return to_python(round.seed()); })
      .def_property_readonly("size", &Round::size)
      .def_property_readonly("segments",
                             [](const Round& round) {
                               std::vector<std::pair<std::uint64_t, double>> out;
                               for (const scheme::Segment& segment : round.segments()) {
                                 out.emplace_back(segment.count, segment.limit);
                               }
                               return out;
                             })
      .def_property_readonly("layout_bytes",
                             [](const Round& round) { return py::bytes(round.layout()); })
      .def_property_readonly("min_clients", &Round::min_clients)
      .def_property_readonly("upload_keys", &Round::upload_keys)
      .def_property_readonly("value_blocks", &Round::value_blocks)
      .def_property_readonly("pad_bytes", &cipher::all_pad_bytes)
      .def_property_readonly("blocks", &Round::blocks)
      .def_property_readonly(
          "roster",
          [](const Round& round) -> std::vector<scheme::PublicIdentity> { return round.roster(); })
      .def("__repr__",
           [](const Round& round) {
             return "Round(id " + short_hex(round.id()) + ", size=" + std::to_string(round.size()) +
                    ", clients=" + std::to_string(round.cipher().clients()) + ")";
           })
      .def("to_bytes", [](const Round& round) { return to_python(round.to_bytes()); })
      .def_static(
          "from_bytes",
          [](const py::buffer& data) { return Round::from_bytes(BufferView(data).view()); },
          py::arg("data"))
      .def(
          "save",
          [](const Round& round, const std::filesystem::path& path) {
            save_public(path.string(), round.to_bytes());
          },
          py::arg("path"))
      .def_static(
          "load",
          [](const std::filesystem::path& path) {
            return Round::from_bytes(read_file(path.string(), FileKind::kPublic));
          },
          py::arg("path"));
  m.def(
      "_read_round",
      [](const py::buffer& data, const py::function& read_plan) {
        const PythonCipherReader others(read_plan);
        return Round::from_bytes(BufferView(data).view(), &others);
      },
      py::arg("data"), py::arg("read_plan"), "Reads a round of any engine.");
}

void register_upload(py::module_& m) {
  using scheme::Upload;
  py::class_<Upload>(m, "Upload", docs::kUpload)
      .def_property_readonly("round_id",
                             [](const Upload& upload) { return to_python(upload.round_id()); })
      .def_property_readonly("clipped", [](const Upload& upload) { return upload.head().clipped; })
      .def_property_readonly("client",
                             [](const Upload& upload) -> std::optional<std::uint32_t> {
                               if (!upload.head().signature) return std::nullopt;
                               return upload.head().signature->client;
                             })
      .def_property_readonly(
          "signed", [](const Upload& upload) { return upload.head().signature.has_value(); })
      .def_property_readonly("nbytes", &Upload::wire_bytes)
      .def_property_readonly(
          "blocks", [](const Upload& upload) { return view_of(py::cast(upload), upload.blocks()); })
      .def_property_readonly("digest",
                             [](const Upload& upload) { return to_python(upload.head().digest()); })
      .def("__repr__",
           [](const Upload& upload) {
             return "<veilsum.Upload of round " + short_hex(upload.round_id()) + ": " +
                    std::to_string(upload.wire_bytes()) + " bytes, " +
                    (upload.head().signature
                         ? "client " + std::to_string(upload.head().signature->client)
                         : std::string("unsigned")) +
                    ">";
           })
      .def(
          "signing_payload",
          [](const Upload& upload, const Round& round, std::uint32_t client, int threads) {
            scheme::check_round_id(upload.round_id(), round, "the upload");
            std::optional<Digest> digest;
            if (!upload.tagged()) {
              const py::gil_scoped_release unlocked;  // hashes bytes that nobody else writes
              digest = upload.blocks_digest(checked_threads(threads));
            }
            return to_python(scheme::signing_payload(round, client, upload.head(), digest));
          },
          py::arg("round"), py::arg("client"), py::arg("threads") = 0)
      .def(
          "attach_signature",
          [](Upload& upload, std::uint32_t client, const py::buffer& signature, int threads) {
            scheme::UploadSignature attached{client, std::nullopt,
                                             scheme::Signature(BufferView(signature).view())};
            if (!upload.tagged()) {
              const py::gil_scoped_release unlocked;  // as above
              attached.blocks_digest = upload.blocks_digest(checked_threads(threads));
            }
            upload.attach_signature(std::move(attached));
          },
          py::arg("client"), py::arg("signature"), py::arg("threads") = 0)
      .def("to_bytes", [](const Upload& upload) { return to_python(upload.to_bytes()); })
      .def_static(
          "from_bytes",
          [](const py::buffer& data, const Round& round) {
            const BufferView bytes(data);
            const py::gil_scoped_release unlocked;  // reads a buffer that Python holds open
            return Upload::from_bytes(bytes.view(), round);
          },
          py::arg("data"), py::arg("round"))
      .def(
          "save",
          [](const Upload& upload, const std::filesystem::path& path) {
            upload.save(path.string());
          },
          py::arg("path"),
          py::call_guard<py::gil_scoped_release>())  // touches no Python object
      .def_static(
          "load",
          [](const std::filesystem::path& path, const Round& round) {
            return naming(path, [&] {
              return Upload::from_bytes(read_file(path.string(), FileKind::kPublic), round);
            });
          },
          py::arg("path"), py::arg("round"),
          py::call_guard<py::gil_scoped_release>());  // touches no Python object
}

scheme::SumKey make_sum_key(const Round& round, const py::buffer& manifest, std::uint64_t count,
                            std::uint64_t total_weight, const py::buffer& body) {
  if (round.cipher().engine() == scheme::Engine::kNative) {
    throw RoundError("sum keys of the native engine are made by open_sum() alone");
  }
  const BufferView view(body);
  SecretBuffer<std::uint8_t> copy(view.view().size());
  std::copy(view.view().begin(), view.view().end(), copy.begin());
  return {round, fixed_bytes<32>(manifest, "a manifest's digest"), count, total_weight,
          std::move(copy)};
}

void register_sum_key(py::module_& m) {
  using scheme::SumKey;
  m.def("make_sum_key", &make_sum_key, py::arg("round"), py::arg("manifest"), py::arg("count"),
        py::arg("total_weight"), py::arg("body"), "For engines that live elsewhere.");
  m.def(
      "make_upload",
      [](const Round& round, std::int64_t clipped, const py::buffer& blocks) {
        const BufferView view(blocks);
        const std::uint64_t count = not_negative("clipped", clipped);
        const py::gil_scoped_release unlocked;  // reads a buffer that Python holds open
        return scheme::Upload::of_blocks(round, count, view.view());
      },
      py::arg("round"), py::arg("clipped"), py::arg("blocks"), "For engines that live elsewhere.");
  py::class_<SumKey>(m, "SumKey", docs::kSumKey)
      .def_property_readonly("round_id",
                             [](const SumKey& key) { return to_python(key.round().id()); })
      .def_property_readonly("round", [](const SumKey& key) { return public_round(key.round()); })
      .def_property_readonly("count", &SumKey::count)
      .def_property_readonly("total_weight", &SumKey::total_weight)
      .def_property_readonly("exportable", &SumKey::exportable)
      .def_property_readonly("manifest",
                             [](const SumKey& key) { return to_python(key.manifest()); })
      .def_property_readonly("body", [](const SumKey& key) { return to_python(key.body()); })
      .def("__repr__",
           [](const SumKey& key) {
             return "<veilsum.SumKey of round " + short_hex(key.round().id()) + ": " +
                    std::to_string(key.count()) + " uploads>";
           })
      .def("__reduce__", [](const SumKey&) { refuse_pickle("SumKey"); })
      .def("to_bytes", [](const SumKey& key) { return secret_to_python(key.to_bytes()); })
      .def_static(
          "from_bytes",
          [](const py::buffer& data, const Round& round) {
            return SumKey::from_bytes(BufferView(data).view(), round);
          },
          py::arg("data"), py::arg("round"))
      .def(
          "save",
          [](const SumKey& key, const std::filesystem::path& path) { key.save(path.string()); },
          py::arg("path"))
      .def_static(
          "load",
          [](const std::filesystem::path& path, const Round& round) {
            return naming(path, [&] { return SumKey::load(path.string(), round); });
          },
          py::arg("path"), py::arg("round"));
}

/// Envelopes for objects whose payloads are made in Python; no public names.
void register_wire(py::module_& m) {
  m.def(
      "_frame_around",
      [](std::uint16_t kind, const std::vector<py::buffer>& parts) {
        const std::vector<BufferView> held(parts.begin(), parts.end());
        std::vector<ByteView> views;
        views.reserve(held.size());
        for (const BufferView& part : held) views.push_back(part.view());
        scheme::Frame frame;
        {
          const py::gil_scoped_release unlocked;  // the views keep the buffers
          frame = scheme::frame_around(static_cast<scheme::ObjectKind>(kind), views);
        }
        return std::pair(to_python(frame.header), to_python(frame.trailer));
      },
      py::arg("kind"), py::arg("parts"), "What stands before and after a payload.");
  m.def(
      "_open_envelope",
      [](const py::buffer& data, std::uint16_t kind) {
        const BufferView bytes(data);
        ByteView payload;
        {
          const py::gil_scoped_release unlocked;  // as above
          payload = scheme::open_envelope(bytes.view(), static_cast<scheme::ObjectKind>(kind));
        }
        const py::ssize_t begin = payload.data() - bytes.view().data();
        const auto size = static_cast<py::ssize_t>(payload.size());
        return py::object(
            py::memoryview(data).attr("cast")("B")[py::slice(begin, begin + size, 1)]);
      },
      py::arg("data"), py::arg("kind"),
      "The payload, where it lies, once its envelope is checked.");
}

}  // namespace

void register_scheme(py::module_& m) {
  m.def(
      "_set_round_type", [](const py::function& wrap) { round_wrapper() = wrap; }, py::arg("wrap"),
      "What becomes of the rounds that objects belong to, when Python asks for them.");
  m.def(
      "_set_public_half", [](const py::function& half) { public_half() = half; }, py::arg("half"),
      "How the public half of a native secret key is computed.");
  m.def(
      "refuse_kept", [](const std::filesystem::path& path) { scheme::refuse_kept(path.string()); },
      py::arg("path"), "Refuses an output in the place of a file that nobody can make again.");
  m.def(
      "_set_signature_check", [](const py::function& check) { signature_check() = check; },
      py::arg("check"), "What certificates are checked with when they are read.");
  register_wire(m);
  register_plan(m);
  register_keys(m);
  register_identity(m);
  register_committee(m);
  register_round(m);
  register_upload(m);
  register_sum_key(m);
}

}  // namespace veilsum::bindings
