// Layer: bindings. Sums of uploads and their opening.
#include <pybind11/stl.h>

#include <algorithm>

#include "aggregate/accumulator.h"
#include "aggregate/aggregate.h"
#include "aggregate/sum_files.h"
#include "base/file_io.h"
#include "bindings/arrays.h"
#include "bindings/conversions.h"
#include "bindings/docstrings.h"
#include "bindings/register.h"
#include "scheme/aggregate_file.h"
#include "scheme/kept_files.h"

namespace veilsum::bindings {
namespace {

using aggregate::Accumulator;
using aggregate::Aggregate;
using aggregate::Incoming;
using scheme::OpeningRequest;
using scheme::Round;

/// An accumulator together with the verifier it refers to.
struct Sum {
  Sum(const Round& round, const std::optional<py::function>& verify)
      : verifier(make_verifier(verify)), accumulator(round, verifier.get()) {}
  std::unique_ptr<PythonVerifier> verifier;
  Accumulator accumulator;
};

/// An upload on its way, together with the sum it goes into. The two are tied here and not by
/// py::keep_alive on a result: pybind11 3.1 applies that to calls that fit no overload too, whose
/// result is no object, and the process dies.
class Arriving {
 public:
  Arriving(std::shared_ptr<Sum> sum, std::uint64_t total_bytes, const std::string& folder)
      : sum_(std::move(sum)), upload_(sum_->accumulator.receive(total_bytes, folder)) {}
  std::uint64_t total_bytes() const { return upload_->total_bytes(); }
  std::uint64_t received_bytes() const { return upload_->received_bytes(); }
  void write(std::int64_t offset, const py::buffer& data) {
    const std::uint64_t begin = not_negative("offset", offset);
    const BufferView bytes(data);
    const py::gil_scoped_release unlocked;  // reads a buffer that Python holds open
    upload_->write(begin, bytes.view());
  }
  void finish(std::int64_t weight, std::optional<int> threads) {
    upload_->finish(not_negative("weight", weight), given_threads(threads));
  }

 private:
  std::shared_ptr<Sum> sum_;  // outlives upload_
  std::unique_ptr<Incoming> upload_;
};

class PythonAccumulator {
 public:
  PythonAccumulator(const Round& round, const std::optional<py::function>& verify)
      : sum_(std::make_shared<Sum>(round, verify)) {}
  void add(const scheme::Upload& upload, std::int64_t weight, std::optional<int> threads) {
    accumulator().add(upload, not_negative("weight", weight), given_threads(threads));
  }
  void add_file(const std::filesystem::path& path, std::int64_t weight,
                std::optional<int> threads) {
    accumulator().add_file(path.string(), not_negative("weight", weight), given_threads(threads));
  }
  std::unique_ptr<Arriving> receive(std::int64_t total_bytes,
                                    const std::optional<std::filesystem::path>& folder) {
    return std::make_unique<Arriving>(
        sum_, not_negative("total_bytes", total_bytes),
        (folder ? *folder : std::filesystem::temp_directory_path()).string());
  }
  // Without the interpreter's lock: add() may hold the accumulator's while its verifier waits for
  // it.
  std::uint64_t count() const {
    const py::gil_scoped_release unlocked;
    return accumulator().count();
  }
  std::uint64_t total_weight() const {
    const py::gil_scoped_release unlocked;
    return accumulator().total_weight();
  }
  Aggregate finish() { return accumulator().finish(); }

 private:
  Accumulator& accumulator() const { return sum_->accumulator; }

  std::shared_ptr<Sum> sum_;
};

Aggregate weighted_sum(const Round& round, const std::vector<const scheme::Upload*>& uploads,
                       const std::optional<std::vector<std::uint64_t>>& weights,
                       const std::optional<py::function>& verify, int threads) {
  for (const scheme::Upload* upload : uploads) {
    if (upload == nullptr) throw ParameterError("an upload is None");
  }
  const std::unique_ptr<PythonVerifier> verifier = make_verifier(verify);
  const std::vector<std::uint64_t> factors = weights.value_or(std::vector<std::uint64_t>{});
  if (weights && weights->size() != uploads.size()) {
    throw ParameterError(std::to_string(weights->size()) + " weights for " +
                         std::to_string(uploads.size()) + " uploads");
  }
  const py::gil_scoped_release unlocked;  // uploads are immutable; the verifier locks for itself
  return aggregate::weighted_sum(round, uploads, factors, verifier.get(), checked_threads(threads));
}

/// Calls a Python callable (secret key, blocks) -> body of the sum key.
class PythonBlockOpener final : public scheme::BlockOpener {
 public:
  explicit PythonBlockOpener(py::function callable) : callable_(std::move(callable)) {}

  SecretBuffer<std::uint8_t> open(ByteView secret,
                                  const scheme::SharedBlocks& blocks) const override {
    const py::gil_scoped_acquire lock;
    // Whatever keeps a view of the blocks, a traceback for one, keeps them too.
    auto held = std::make_unique<scheme::SharedBlocks>(blocks);
    const py::capsule owner(held.get(),
                            [](void* at) { delete static_cast<scheme::SharedBlocks*>(at); });
    held.release();  // NOLINT(bugprone-unused-return-value): the capsule's from here on
    const py::object made = callable_(to_python(secret), view_of(owner, blocks->span()));
    const BufferView view(bytes_from("open", made));
    SecretBuffer<std::uint8_t> body(view.view().size());
    std::copy(view.view().begin(), view.view().end(), body.begin());
    return body;
  }

 private:
  HeldFunction callable_;
};

void check_round_of(const scheme::Manifest& manifest, const Round& round) {
  if (manifest.round().id() == round.id()) return;
  throw RoundError("the aggregate belongs to round " + short_hex(manifest.round().id()) +
                   ", not to round " + short_hex(round.id()));
}

scheme::SumKey open_request(const scheme::SecretKey& secret, const Round& round,
                            const OpeningRequest& request, const py::function& open,
                            const std::optional<py::function>& verify, bool allow_export,
                            int threads) {
  check_round_of(request.manifest, round);
  const std::unique_ptr<PythonVerifier> verifier = make_verifier(verify);
  if (round.cipher().engine() == scheme::Engine::kNative) {
    const PythonOpener opener(open);
    const py::gil_scoped_release unlocked;  // the ledger locks for itself, the callables too
    return scheme::open_sum(secret, request, opener, verifier.get(), allow_export);
  }
  const PythonBlockOpener opener(open);
  const py::gil_scoped_release unlocked;  // as above
  return scheme::open_sum(secret, request, opener, verifier.get(), checked_threads(threads));
}

/// Opens a sum whose blocks are at hand; of the native engine, whose key holder they bind the key
/// for.
template <typename Total, typename Hash>
scheme::SumKey open_total(const scheme::SecretKey& secret, const Round& round, const Total& total,
                          const py::function& open, const std::optional<py::function>& verify,
                          bool allow_export, int threads, Hash hash) {
  check_round_of(total.manifest(), round);
  const std::unique_ptr<PythonVerifier> verifier = make_verifier(verify);
  const PythonOpener opener(open);
  const scheme::HashBlocks blocks = hash(total, checked_threads(threads));
  const py::gil_scoped_release unlocked;  // the ledger locks for itself, the callables too
  return scheme::open_sum(secret, total.manifest(), blocks, opener, verifier.get(), allow_export);
}

scheme::SumKey open_aggregate(const scheme::SecretKey& secret, const Round& round,
                              const Aggregate& total, const py::function& open,
                              const std::optional<py::function>& verify, bool allow_export,
                              int threads) {
  return open_total(secret, round, total, open, verify, allow_export, threads,
                    [](const Aggregate& it, int most) {
                      return scheme::hash_of_memory(it.round(), it.blocks(), most);
                    });
}

scheme::SumKey open_aggregate_file(const scheme::SecretKey& secret, const Round& round,
                                   const scheme::AggregateFile& total, const py::function& open,
                                   const std::optional<py::function>& verify, bool allow_export,
                                   int threads) {
  return open_total(secret, round, total, open, verify, allow_export, threads,
                    [](const scheme::AggregateFile& it, int most) { return it.hash_blocks(most); });
}

void sum_files(const Round& round, const std::vector<std::filesystem::path>& paths,
               const std::filesystem::path& target,
               const std::optional<std::vector<std::uint64_t>>& weights,
               const std::optional<py::function>& verify, int threads,
               const std::optional<py::function>& progress, bool resume) {
  const std::unique_ptr<PythonVerifier> verifier = make_verifier(verify);
  std::vector<std::string> names;
  names.reserve(paths.size());
  for (const std::filesystem::path& path : paths) names.push_back(path.string());
  const std::vector<std::uint64_t> factors = weights.value_or(std::vector<std::uint64_t>{});
  if (weights && factors.size() != names.size()) {
    throw ParameterError(std::to_string(factors.size()) + " weights for " +
                         std::to_string(names.size()) + " uploads");
  }
  aggregate::FileSumOptions options;
  options.threads = checked_threads(threads);
  options.progress = make_interruptible(progress);
  options.resume = resume;
  const py::gil_scoped_release unlocked;  // verifier and progress lock for themselves
  aggregate::sum_files(round, names, factors, verifier.get(), target.string(), options);
}

std::vector<std::uint64_t> weights_of(const scheme::Manifest& manifest) {
  std::vector<std::uint64_t> out;
  for (const scheme::ManifestEntry& entry : manifest.entries()) out.push_back(entry.weight);
  return out;
}

std::vector<std::optional<std::uint32_t>> clients_of(const scheme::Manifest& manifest) {
  std::vector<std::optional<std::uint32_t>> out;
  for (const scheme::ManifestEntry& entry : manifest.entries()) {
    out.push_back(entry.head.signature ? std::optional(entry.head.signature->client)
                                       : std::nullopt);
  }
  return out;
}

std::vector<std::uint64_t> clipped_of(const scheme::Manifest& manifest) {
  std::vector<std::uint64_t> out;
  for (const scheme::ManifestEntry& entry : manifest.entries()) out.push_back(entry.head.clipped);
  return out;
}

/// Properties that an aggregate and its opening request share.
template <typename T, typename Class, typename GetManifest>
void add_manifest_properties(Class& type, GetManifest manifest) {
  type.def_property_readonly("round_id",
                             [=](const T& self) { return to_python(manifest(self).round().id()); })
      .def_property_readonly("round",
                             [=](const T& self) { return public_round(manifest(self).round()); })
      .def_property_readonly("count",
                             [=](const T& self) { return manifest(self).entries().size(); })
      .def_property_readonly("total_weight",
                             [=](const T& self) { return manifest(self).total_weight(); })
      .def_property_readonly("weights", [=](const T& self) { return weights_of(manifest(self)); })
      .def_property_readonly("clients", [=](const T& self) { return clients_of(manifest(self)); })
      .def_property_readonly("clipped", [=](const T& self) { return clipped_of(manifest(self)); });
}

}  // namespace

void register_aggregate(py::module_& m) {
  py::class_<OpeningRequest> request(m, "OpeningRequest", docs::kOpeningRequest);
  add_manifest_properties<OpeningRequest>(
      request, [](const OpeningRequest& self) -> const scheme::Manifest& { return self.manifest; });
  request
      .def("__repr__",
           [](const OpeningRequest& self) {
             return "<veilsum.OpeningRequest of round " + short_hex(self.manifest.round().id()) +
                    ": " + std::to_string(self.manifest.entries().size()) + " uploads>";
           })
      .def("to_bytes", [](const OpeningRequest& self) { return to_python(self.to_bytes()); })
      .def_static(
          "from_bytes",
          [](const py::buffer& data, const Round& round) {
            return OpeningRequest::from_bytes(BufferView(data).view(), round);
          },
          py::arg("data"), py::arg("round"))
      .def(
          "save",
          [](const OpeningRequest& self, const std::filesystem::path& path) {
            const Bytes bytes = self.to_bytes();
            const ByteView parts[] = {bytes};
            scheme::write_object(path.string(), parts, FileKind::kPublic);
          },
          py::arg("path"))
      .def_static(
          "load",
          [](const std::filesystem::path& path, const Round& round) {
            return naming(path, [&] {
              return OpeningRequest::from_bytes(read_file(path.string(), FileKind::kPublic), round);
            });
          },
          py::arg("path"), py::arg("round"));

  py::class_<Aggregate> aggregate(m, "Aggregate", docs::kAggregate);
  add_manifest_properties<Aggregate>(
      aggregate, [](const Aggregate& self) -> const scheme::Manifest& { return self.manifest(); });
  aggregate.def_property_readonly("nbytes", &Aggregate::wire_bytes)
      .def("__repr__",
           [](const Aggregate& self) {
             return "<veilsum.Aggregate of round " + short_hex(self.round().id()) + ": " +
                    std::to_string(self.manifest().entries().size()) + " uploads, total weight " +
                    std::to_string(self.manifest().total_weight()) + ">";
           })
      .def_property_readonly(
          "blocks", [](const Aggregate& self) { return view_of(py::cast(self), self.blocks()); })
      .def(
          "blocks_digest",
          [](const Aggregate& self, std::optional<int> threads) {
            Digest digest;
            {
              const py::gil_scoped_release unlocked;  // blocks that nobody writes to
              digest = self.blocks_digest(given_threads(threads));
            }
            return to_python(digest);
          },
          py::arg("threads") = py::none())
      .def_property_readonly(
          "manifest_digest",
          [](const Aggregate& self) { return to_python(self.manifest().digest()); })
      .def(
          "opening_request",
          [](const Aggregate& self,
             const std::optional<std::vector<const scheme::Upload*>>& uploads) {
            if (self.round().cipher().engine() == scheme::Engine::kNative && !uploads) {
              const py::gil_scoped_release unlocked;  // blocks that nobody writes to
              return self.opening_request(0);
            }
            const std::vector<const scheme::Upload*> given =
                uploads.value_or(std::vector<const scheme::Upload*>{});
            if (std::find(given.begin(), given.end(), nullptr) != given.end()) {
              throw ParameterError("an upload is None");
            }
            const py::gil_scoped_release unlocked;  // uploads are immutable
            return self.opening_request(given, 0);
          },
          py::arg("uploads") = py::none())
      .def("without_shares", &Aggregate::without_shares,
           "The same sum without the uploads' sealed shares: all that readers need.")
      .def("to_bytes", [](const Aggregate& self) { return to_python(self.to_bytes()); })
      .def_static(
          "from_bytes",
          [](const py::buffer& data, const Round& round) {
            const BufferView bytes(data);
            const py::gil_scoped_release unlocked;  // reads a buffer that Python holds open
            return Aggregate::from_bytes(bytes.view(), round);
          },
          py::arg("data"), py::arg("round"))
      .def(
          "save",
          [](const Aggregate& self, const std::filesystem::path& path) {
            self.save(path.string());
          },
          py::arg("path"),
          py::call_guard<py::gil_scoped_release>())  // touches no Python object
      .def_static(
          "load",
          [](const std::filesystem::path& path, const Round& round) {
            return naming(path, [&] {
              return Aggregate::from_bytes(read_file(path.string(), FileKind::kPublic), round);
            });
          },
          py::arg("path"), py::arg("round"),
          py::call_guard<py::gil_scoped_release>());  // touches no Python object

  using scheme::AggregateFile;
  py::class_<AggregateFile> file(m, "AggregateFile", docs::kAggregateFile);
  add_manifest_properties<AggregateFile>(
      file, [](const AggregateFile& self) -> const scheme::Manifest& { return self.manifest(); });
  file.def(py::init([](const std::filesystem::path& path, const Round& round) {
             return naming(path,
                           [&] { return std::make_unique<AggregateFile>(path.string(), round); });
           }),
           py::arg("path"), py::arg("round"))
      .def_property_readonly("nbytes", &AggregateFile::wire_bytes)
      .def_property_readonly("path", [](const AggregateFile& self) { return self.file().path(); })
      .def("__repr__",
           [](const AggregateFile& self) {
             return "<veilsum.AggregateFile of round " + short_hex(self.round().id()) + ": " +
                    std::to_string(self.manifest().entries().size()) + " uploads, total weight " +
                    std::to_string(self.manifest().total_weight()) + ", in " + self.file().path() +
                    ">";
           })
      .def(
          "opening_request", [](const AggregateFile& self) { return self.opening_request(0); },
          py::call_guard<py::gil_scoped_release>())  // touches no Python object
      .def(
          "verify",
          [](const AggregateFile& self, std::optional<int> threads) {
            self.verify(given_threads(threads));
          },
          py::arg("threads") = py::none(),
          py::call_guard<py::gil_scoped_release>());  // touches no Python object

  py::class_<Arriving>(m, "Incoming", docs::kIncoming)
      .def_property_readonly("total_bytes", &Arriving::total_bytes)
      .def_property_readonly("received_bytes", &Arriving::received_bytes)
      .def("write", &Arriving::write, py::arg("offset"), py::arg("data"))
      .def("finish", &Arriving::finish, py::arg("weight") = 1, py::arg("threads") = py::none(),
           py::call_guard<py::gil_scoped_release>());  // the verifier takes the lock itself

  py::class_<PythonAccumulator>(m, "Accumulator",
                                "Sums uploads as they arrive; holds one aggregate, no key.")
      .def(py::init<const Round&, const std::optional<py::function>&>(), py::arg("round"),
           py::arg("verify") = py::none())
      // The accumulator locks for itself and the verifier takes the interpreter's lock.
      .def("add", &PythonAccumulator::add, py::arg("upload"), py::arg("weight") = 1,
           py::arg("threads") = py::none(), py::call_guard<py::gil_scoped_release>())
      .def("add_file", &PythonAccumulator::add_file, py::arg("path"), py::arg("weight") = 1,
           py::arg("threads") = py::none(), py::call_guard<py::gil_scoped_release>())
      .def("receive", &PythonAccumulator::receive, py::arg("total_bytes"),
           py::arg("folder") = py::none(), py::call_guard<py::gil_scoped_release>(), docs::kReceive)
      .def_property_readonly("count", &PythonAccumulator::count)
      .def_property_readonly("total_weight", &PythonAccumulator::total_weight)
      .def("finish", &PythonAccumulator::finish, py::call_guard<py::gil_scoped_release>());

  m.def("weighted_sum", &weighted_sum, py::arg("round"), py::arg("uploads"),
        py::arg("weights") = py::none(), py::kw_only(), py::arg("verify") = py::none(),
        py::arg("threads") = 0, "sum_k weights[k] * uploads[k], encrypted.");
  m.def(
      "check_sum_key",
      [](const scheme::SumKey& key, const Aggregate& total) {
        scheme::check_sum_key(key, total.manifest());
      },
      py::arg("key"), py::arg("aggregate"), "Refuses a key that was opened for another sum.");
  m.def(
      "check_sum_key",
      [](const scheme::SumKey& key, const AggregateFile& total) {
        scheme::check_sum_key(key, total);
      },
      py::arg("key"), py::arg("aggregate"), "Refuses a key that was opened for another sum.");
  m.def("sum_files", &sum_files, py::arg("round"), py::arg("paths"), py::arg("target"),
        py::arg("weights") = py::none(), py::kw_only(), py::arg("verify") = py::none(),
        py::arg("threads") = 0, py::arg("progress") = py::none(), py::arg("resume") = false,
        "Sums uploads in files to a file, in one pass.");
  const auto open_sum = [&m](auto function, const char* what) {
    m.def("open_sum", function, py::arg("secret"), py::arg("round"), py::arg("request"),
          py::kw_only(), py::arg("open"), py::arg("verify") = py::none(), py::arg("export") = false,
          py::arg("threads") = 0, what);
  };
  open_sum(&open_request, "Opens a sum after all checks of the round; returns its SumKey.");
  open_sum(&open_aggregate, "The same with the blocks in hand, to which the key is bound.");
  open_sum(&open_aggregate_file, "The same in one pass over the file.");
}

}  // namespace veilsum::bindings
