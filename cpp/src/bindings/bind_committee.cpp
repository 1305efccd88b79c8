// Layer: bindings. What members, aggregator and reader of a committee's round exchange.
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <vector>

#include "aggregate/aggregate.h"
#include "base/file_io.h"
#include "bindings/conversions.h"
#include "bindings/register.h"
#include "ring/sha256.h"
#include "scheme/aggregate_file.h"
#include "scheme/challenge.h"
#include "scheme/combine.h"
#include "scheme/kept_files.h"
#include "scheme/member_ledger.h"
#include "scheme/verdict.h"
#include "veilsum/errors.h"

namespace veilsum::bindings {
namespace {

using aggregate::Aggregate;
using scheme::Answer;
using scheme::Certificate;
using scheme::Endorsement;
using scheme::MemberRequest;
using scheme::Round;

/// to_bytes, from_bytes, save, load and a round's id of a public object that belongs to a round.
template <typename T, typename Class, typename Read>
void add_bytes(Class& type, Read read) {
  type.def("to_bytes", [](const T& self) { return to_python(self.to_bytes()); })
      .def(
          "save",
          [](const T& self, const std::filesystem::path& path) {
            const Bytes bytes = self.to_bytes();
            const ByteView parts[] = {bytes};
            scheme::write_object(path.string(), parts, FileKind::kPublic);
          },
          py::arg("path"))
      .def_static(
          "from_bytes",
          [read](const py::buffer& data, const Round& round) {
            return read(BufferView(data).view(), round);
          },
          py::arg("data"), py::arg("round"))
      .def_static(
          "load",
          [read](const std::filesystem::path& path, const Round& round) {
            return naming(path,
                          [&] { return read(read_file(path.string(), FileKind::kPublic), round); });
          },
          py::arg("path"), py::arg("round"));
}

/// Of an aggregate in memory or in a file.
template <typename Total>
std::optional<Digest> named_blocks(const Total& total) {
  if (!scheme::names_blocks(total.round())) return std::nullopt;
  return total.blocks_digest(0);
}

std::vector<std::uint32_t> clients_of(const scheme::Manifest& manifest) {
  std::vector<std::uint32_t> out;
  out.reserve(manifest.entries().size());
  for (const auto& entry : manifest.entries()) out.push_back(scheme::client_of(entry.head));
  return out;
}

/// What a member opened, kept out of Python.
struct Shares {
  Round round;
  Digest sum;
  scheme::OpenedShares opened;
};

template <typename Total>
void add_certify(py::class_<Certificate>& type) {
  type.def(py::init([](const Total& total, const std::vector<Endorsement>& endorsements,
                       const py::function& verify) {
             const PythonVerifier verifier(verify);
             const py::gil_scoped_release unlocked;  // the verifier takes the lock itself
             return Certificate(total.manifest(), named_blocks(total), endorsements, verifier);
           }),
           py::arg("aggregate"), py::arg("endorsements"), py::arg("verify"));
}

template <typename Total>
void add_request(py::module_& m) {
  m.def(
      "member_request",
      [](const Total& total, std::uint32_t member) {
        const py::gil_scoped_release unlocked;  // touches no Python object
        return MemberRequest(total.manifest(), named_blocks(total), member);
      },
      py::arg("aggregate"), py::arg("member"), "What this member is asked.");
}

void register_objects(py::module_& m) {
  py::class_<MemberRequest> request(m, "MemberRequest",
                                    "What an aggregator asks of one member of a committee.");
  request.def_property_readonly("member", &MemberRequest::member)
      .def("__repr__",
           [](const MemberRequest& self) {
             return "MemberRequest(round " + short_hex(self.round().id()) + ", member " +
                    std::to_string(self.member()) +
                    ", count=" + std::to_string(self.manifest().entries().size()) + ")";
           })
      .def_property_readonly("round",
                             [](const MemberRequest& self) { return public_round(self.round()); })
      .def_property_readonly(
          "count", [](const MemberRequest& self) { return self.manifest().entries().size(); })
      .def_property_readonly("clients",
                             [](const MemberRequest& self) { return clients_of(self.manifest()); })
      .def_property_readonly("sum", [](const MemberRequest& self) {
        return to_python(self.name().digest(self.round()));
      });
  add_bytes<MemberRequest>(request, [](ByteView bytes, const Round& round) {
    return MemberRequest::from_bytes(bytes, round);
  });

  py::class_<Endorsement> endorsement(m, "Endorsement", "A member's signed word for one sum.");
  endorsement
      .def(py::init([](const Round& round, std::uint32_t member, const py::buffer& sum,
                       const py::buffer& signature) {
             return Endorsement{round.id(), member, fixed_bytes<32>(sum, "a sum's digest"),
                                scheme::Signature(BufferView(signature).view())};
           }),
           py::arg("round"), py::arg("member"), py::arg("sum"), py::arg("signature"))
      .def_readonly("member", &Endorsement::member)
      .def("__repr__",
           [](const Endorsement& self) {
             return "Endorsement(round " + short_hex(self.round_id) + ", member " +
                    std::to_string(self.member) + ")";
           })
      .def_property_readonly("round_id",
                             [](const Endorsement& self) { return to_python(self.round_id); })
      .def_property_readonly("sum", [](const Endorsement& self) { return to_python(self.sum); });
  add_bytes<Endorsement>(endorsement, [](ByteView bytes, const Round& round) {
    return Endorsement::from_bytes(bytes, round);
  });

  py::class_<Certificate> certificate(m, "Certificate",
                                      "The endorsements of a threshold of members for one sum.");
  add_certify<Aggregate>(certificate);
  add_certify<scheme::AggregateFile>(certificate);
  certificate
      .def_property_readonly("round",
                             [](const Certificate& self) { return public_round(self.round()); })
      .def_property_readonly(
          "count", [](const Certificate& self) { return self.manifest().entries().size(); })
      .def_property_readonly("members", &Certificate::members)
      .def("__repr__",
           [](const Certificate& self) {
             return "Certificate(round " + short_hex(self.round().id()) +
                    ", count=" + std::to_string(self.manifest().entries().size()) + ")";
           })
      .def_property_readonly("clients",
                             [](const Certificate& self) { return clients_of(self.manifest()); })
      .def_property_readonly("sum", [](const Certificate& self) { return to_python(self.sum()); });
  add_bytes<Certificate>(certificate, [](ByteView bytes, const Round& round) {
    if (!signature_check()) throw ParameterError("signatures cannot be checked yet");
    const PythonVerifier verifier(signature_check().cast<py::function>());
    return Certificate::from_bytes(bytes, round, verifier);
  });

  py::class_<Answer> answer(m, "Answer", "A member's sealed share of a sum's key.");
  answer
      .def(py::init([](const Round& round, std::uint32_t member, const py::buffer& sum,
                       const py::buffer& sealed, const py::buffer& signature) {
             const ByteView bytes = BufferView(sealed).view();
             return Answer{round.id(), member, fixed_bytes<32>(sum, "a sum's digest"),
                           Bytes(bytes.begin(), bytes.end()),
                           scheme::Signature(BufferView(signature).view())};
           }),
           py::arg("round"), py::arg("member"), py::arg("sum"), py::arg("sealed"),
           py::arg("signature"))
      .def_readonly("member", &Answer::member)
      .def("__repr__",
           [](const Answer& self) {
             return "Answer(round " + short_hex(self.round_id) + ", member " +
                    std::to_string(self.member) + ")";
           })
      .def_property_readonly("round_id",
                             [](const Answer& self) { return to_python(self.round_id); })
      .def_property_readonly("sum", [](const Answer& self) { return to_python(self.sum); })
      .def_property_readonly("nbytes", [](const Answer& self) { return self.to_bytes().size(); });
  add_bytes<Answer>(
      answer, [](ByteView bytes, const Round& round) { return Answer::from_bytes(bytes, round); });
}

/// What a member's ledger notes of a round. A round outside any training is a step of its own.
scheme::EndorsedRound noted(const Round& round, const py::buffer& sum) {
  scheme::EndorsedRound out;
  out.round_id = round.id();
  out.manifest = fixed_bytes<32>(sum, "a sum's digest");
  if (round.step()) {
    const scheme::TrainingStep& at = *round.step();
    out.training = at.training;
    out.step = at.step;
    out.purpose = ring::labelled_hash(
        "veilsum/2/purpose",
        {ByteView(reinterpret_cast<const std::uint8_t*>(at.purpose.data()), at.purpose.size())});
  } else {
    out.training = round.id();
  }
  return out;
}

/// @throws RoundError for nobody of the roster
scheme::ClientIds ids_of(const Round& round, const std::vector<std::uint32_t>& clients) {
  scheme::ClientIds out;
  for (const std::uint32_t client : clients) {
    if (client >= round.roster().size()) {
      throw RoundError("the roster has no client number " + std::to_string(client));
    }
    out.insert(round.roster()[client].id());
  }
  return out;
}

void register_ledger(py::module_& m) {
  using scheme::MemberLedger;
  m.def(
      "create_member_ledger",
      [](const std::filesystem::path& path, const py::buffer& identity) {
        MemberLedger::create(path.string(), fixed_bytes<32>(identity, "an identity's id"));
      },
      py::arg("path"), py::arg("identity"), "The file of a member that has endorsed nothing yet.");
  py::class_<MemberLedger>(m, "MemberLedger", "What a member has endorsed and answered.")
      .def(py::init([](const std::filesystem::path& path, const py::buffer& identity) {
             return std::make_unique<MemberLedger>(path.string(),
                                                   fixed_bytes<32>(identity, "an identity's id"));
           }),
           py::arg("path"), py::arg("identity"))
      .def(
          "endorse",
          [](MemberLedger& self, const Round& round, const py::buffer& sum,
             const std::vector<std::uint32_t>& clients) {
            const scheme::EndorsedRound what = noted(round, sum);
            const scheme::ClientIds ids = ids_of(round, clients);
            const py::gil_scoped_release unlocked;  // locks and syncs a file
            return self.endorse(what, ids);
          },
          py::arg("round"), py::arg("sum"), py::arg("clients"))
      .def(
          "endorse_to_blame",
          [](MemberLedger& self, const Round& round, const py::buffer& sum) {
            const scheme::EndorsedRound what = noted(round, sum);
            const py::gil_scoped_release unlocked;  // locks and syncs a file
            return self.endorse_to_blame(what);
          },
          py::arg("round"), py::arg("sum"))
      .def(
          "lose",
          [](MemberLedger& self, const Round& round, const py::buffer& sum,
             const std::vector<std::uint32_t>& clients) {
            const scheme::EndorsedRound what = noted(round, sum);
            const scheme::ClientIds ids = ids_of(round, clients);
            const py::gil_scoped_release unlocked;  // locks and syncs a file
            return self.lose(what, ids);
          },
          py::arg("round"), py::arg("sum"), py::arg("clients"))
      .def(
          "challenge",
          [](MemberLedger& self, const MemberRequest& request) {
            const Digest& round_id = request.round().id();
            const py::gil_scoped_release unlocked;  // locks and syncs a file
            for (const scheme::ManifestEntry* entry : scheme::by_client(request.manifest())) {
              const std::uint32_t client = scheme::client_of(entry->head);
              self.challenge(round_id, client,
                             scheme::challenge_of(request.name().manifest, client));
            }
          },
          py::arg("request"))
      .def(
          "challenge_answer",
          [](MemberLedger& self, const Round& round, const py::buffer& sum,
             const py::buffer& words) {
            return to_python(self.challenge_answer(
                round.id(), fixed_bytes<32>(sum, "a sum's digest"), BufferView(words).view()));
          },
          py::arg("round"), py::arg("sum"), py::arg("words"))
      .def(
          "challenges_answered",
          [](MemberLedger& self, const Round& round,
             const py::buffer& sum) -> std::optional<py::bytes> {
            const std::optional<Bytes> found =
                self.challenges_answered(round.id(), fixed_bytes<32>(sum, "a sum's digest"));
            return found ? std::optional(to_python(*found)) : std::nullopt;
          },
          py::arg("round"), py::arg("sum"))
      .def(
          "answered",
          [](MemberLedger& self, const Round& round,
             const py::buffer& sum) -> std::optional<py::bytes> {
            const Digest digest = fixed_bytes<32>(sum, "a sum's digest");
            const std::optional<Bytes> found =
                self.answered(round.id(), digest, scheme::reader_of(round).id);
            return found ? std::optional(to_python(*found)) : std::nullopt;
          },
          py::arg("round"), py::arg("sum"))
      .def(
          "answer",
          [](MemberLedger& self, const Round& round, const py::buffer& sum,
             const py::buffer& sealed, const std::vector<std::uint32_t>& clients) {
            return to_python(self.answer(round.id(), fixed_bytes<32>(sum, "a sum's digest"),
                                         scheme::reader_of(round).id, BufferView(sealed).view(),
                                         ids_of(round, clients)));
          },
          py::arg("round"), py::arg("sum"), py::arg("sealed"), py::arg("clients"));
}

void register_steps(py::module_& m) {
  py::class_<Shares>(m, "OpenedShares", "A member's share of a sum. Secret.")
      .def_property_readonly("bad", [](const Shares& self) { return self.opened.bad; })
      .def("__reduce__", [](const Shares&) { refuse_pickle("OpenedShares"); });
  add_request<Aggregate>(m);
  add_request<scheme::AggregateFile>(m);
  m.def(
      "check_request",
      [](const MemberRequest& request, const scheme::PublicIdentity& me, std::int64_t least,
         const py::function& verify) {
        const PythonVerifier verifier(verify);
        scheme::check_request(request, me, not_negative("min_clients", least), verifier);
      },
      py::arg("request"), py::arg("me"), py::arg("least"), py::arg("verify"),
      "Everything a member asks of a sum before it looks at its shares.");
  m.def(
      "open_shares",
      [](const MemberRequest& request, const py::function& open) {
        const PythonOpener opener(open);
        const py::gil_scoped_release unlocked;  // the opener takes the lock itself
        return std::make_unique<Shares>(Shares{request.round(),
                                               request.name().digest(request.round()),
                                               scheme::open_shares(request, opener)});
      },
      py::arg("request"), py::arg("open"), "Opens the shares that are sealed to a member.");
  m.def(
      "endorsement_payload",
      [](const Round& round, std::uint32_t member, const py::buffer& sum) {
        return to_python(
            scheme::endorsement_payload(round, member, fixed_bytes<32>(sum, "a sum's digest")));
      },
      py::arg("round"), py::arg("member"), py::arg("sum"), "What a member signs to endorse.");
  m.def(
      "answer_payload",
      [](const Round& round, std::uint32_t member, const py::buffer& sum,
         const py::buffer& sealed) {
        return to_python(scheme::answer_payload(
            round, member, fixed_bytes<32>(sum, "a sum's digest"), BufferView(sealed).view()));
      },
      py::arg("round"), py::arg("member"), py::arg("sum"), py::arg("sealed"),
      "What a member signs to answer.");
  m.def(
      "seal_answer",
      [](const Shares& shares, std::uint32_t member, const py::function& seal) {
        if (!shares.opened.bad.empty()) {
          throw RoundError("some of the shares cannot be opened: nothing is answered");
        }
        const PythonSealer sealer(seal);
        return to_python(
            scheme::seal_answer(shares.round, shares.sum, member, shares.opened.sum, sealer));
      },
      py::arg("shares"), py::arg("member"), py::arg("seal"),
      "Seals a member's share of a sum to the round's reader.");
  m.def(
      "check_answer",
      [](const Answer& answer, const Certificate& certificate, const py::function& verify) {
        answer.check(certificate, PythonVerifier(verify));
      },
      py::arg("answer"), py::arg("certificate"), py::arg("verify"), "Refuses what does not hold.");
  m.def(
      "combine",
      [](const Certificate& certificate, const std::vector<Answer>& answers,
         const py::function& open, const py::function& verify, bool every) {
        const PythonOpener opener(open);
        const PythonVerifier verifier(verify);
        scheme::Combined combined;
        {
          const py::gil_scoped_release unlocked;  // the callables take the lock themselves
          combined = scheme::combine(certificate, answers, opener, verifier, every);
        }
        py::list out;
        for (std::size_t k = 0; k < combined.keys.size(); ++k) {
          out.append(py::make_tuple(
              py::cast(std::make_unique<scheme::SumKey>(std::move(combined.keys[k]))),
              combined.wrong[k]));
        }
        return out;
      },
      py::arg("certificate"), py::arg("answers"), py::arg("open"), py::arg("verify"),
      py::arg("every") = false, "Sum keys that the answers may give, with who answered wrongly.");
}

void register_blame(py::module_& m) {
  using scheme::ChallengeAnswer;
  using scheme::Verdict;
  py::class_<ChallengeAnswer> challenge(
      m, "ChallengeAnswer", "A member's masked combinations of its shares of a sum's uploads.");
  challenge
      .def(py::init([](const Round& round, std::uint32_t member, const py::buffer& sum,
                       const py::buffer& words, const py::buffer& signature) {
             const BufferView said(words);
             return ChallengeAnswer{round.id(), member, fixed_bytes<32>(sum, "a sum's digest"),
                                    Bytes(said.view().begin(), said.view().end()),
                                    scheme::Signature(BufferView(signature).view())};
           }),
           py::arg("round"), py::arg("member"), py::arg("sum"), py::arg("words"),
           py::arg("signature"))
      .def_readonly("member", &ChallengeAnswer::member)
      .def("__repr__",
           [](const ChallengeAnswer& self) {
             return "ChallengeAnswer(round " + short_hex(self.round_id) + ", member " +
                    std::to_string(self.member) + ")";
           })
      .def_property_readonly("round_id",
                             [](const ChallengeAnswer& self) { return to_python(self.round_id); })
      .def_property_readonly("sum", [](const ChallengeAnswer& self) { return to_python(self.sum); })
      .def_property_readonly("words",
                             [](const ChallengeAnswer& self) { return to_python(self.words); });
  add_bytes<ChallengeAnswer>(challenge, [](ByteView bytes, const Round& round) {
    return ChallengeAnswer::from_bytes(bytes, round);
  });

  py::class_<Verdict> verdict(m, "Verdict", "Who spoiled a round, as members' signed words show.");
  verdict
      .def_property_readonly(
          "round", [](const Verdict& self) { return public_round(self.certificate().round()); })
      .def_property_readonly(
          "sum", [](const Verdict& self) { return to_python(self.certificate().sum()); })
      .def_property_readonly("certificate", &Verdict::certificate)
      .def_property_readonly("challenge_answers", &Verdict::words)
      .def_property_readonly("clients", &Verdict::clients)
      .def_property_readonly("members", &Verdict::members)
      .def_property_readonly("suspects", &Verdict::suspects)
      .def_property_readonly("sentence", &Verdict::sentence)
      .def("__repr__", [](const Verdict& self) {
        return "Verdict(round " + short_hex(self.certificate().round().id()) + ", convicted " +
               std::to_string(self.clients().size()) + " client(s) and " +
               std::to_string(self.members().size()) + " member(s), " +
               std::to_string(self.suspects().size()) + " pair(s) of suspects)";
      });
  add_bytes<Verdict>(verdict, [](ByteView bytes, const Round& round) {
    if (!signature_check()) throw ParameterError("signatures cannot be checked yet");
    const PythonVerifier verifier(signature_check().cast<py::function>());
    return Verdict::from_bytes(bytes, round, verifier);
  });
  m.def(
      "open_challenges",
      [](const MemberRequest& request, const py::function& open) {
        const PythonOpener opener(open);
        Bytes words;
        {
          const py::gil_scoped_release unlocked;  // the opener takes the lock itself
          words = scheme::open_challenges(request, opener);
        }
        return to_python(words);
      },
      py::arg("request"), py::arg("open"),
      "A member's masked combinations of its share of every upload.");
  m.def(
      "challenge_payload",
      [](const Round& round, std::uint32_t member, const py::buffer& sum, const py::buffer& words) {
        return to_python(scheme::challenge_payload(
            round, member, fixed_bytes<32>(sum, "a sum's digest"), BufferView(words).view()));
      },
      py::arg("round"), py::arg("member"), py::arg("sum"), py::arg("words"),
      "What a member signs with opened challenges.");
  m.def(
      "check_challenge_answer",
      [](const ChallengeAnswer& answer, const Certificate& certificate,
         const py::function& verify) { answer.check(certificate, PythonVerifier(verify)); },
      py::arg("answer"), py::arg("certificate"), py::arg("verify"), "Refuses what does not hold.");
  m.def(
      "blame",
      [](const Certificate& certificate, std::vector<ChallengeAnswer> words,
         const std::vector<Answer>& answers, const std::optional<py::function>& open,
         const py::function& verify) {
        const PythonVerifier verifier(verify);
        std::optional<PythonOpener> opener;
        if (open) opener.emplace(*open);
        const py::gil_scoped_release unlocked;  // the callables take the lock themselves
        Verdict out(certificate, std::move(words), verifier);
        if (opener) out.look_at(answers, *opener, verifier);
        return out;
      },
      py::arg("certificate"), py::arg("challenge_answers"), py::arg("answers"), py::arg("open"),
      py::arg("verify"), "Who spoiled a round.");
}

}  // namespace

void register_committee_steps(py::module_& m) {
  register_objects(m);
  register_blame(m);
  register_ledger(m);
  register_steps(m);
}

}  // namespace veilsum::bindings
