// Layer: tests. Plans made from small numbers, and one of every ring.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "scheme/plan.h"

namespace veilsum::test {

inline scheme::PlanRequest request_of(std::uint64_t clients, std::uint64_t value_bits,
                                      std::uint64_t weight_bits = 0, std::uint64_t security = 128,
                                      std::string profile = "auto") {
  scheme::PlanRequest request;
  request.clients = clients;
  request.value_bits = value_bits;
  request.weight_bits = weight_bits;
  request.security = security;
  request.profile = std::move(profile);
  return request;
}

inline scheme::Plan make_plan(std::uint64_t clients, std::uint64_t value_bits,
                              std::uint64_t weight_bits = 0, std::uint64_t security = 128,
                              std::string profile = "auto") {
  return scheme::Plan(request_of(clients, value_bits, weight_bits, security, std::move(profile)));
}

/// One plan for each ring, some with weights, with one digit a plane and with many.
inline std::vector<scheme::Plan> plans_of_every_ring() {
  std::vector<scheme::Plan> plans;
  plans.push_back(make_plan(10, 16));
  plans.push_back(make_plan(10, 16, 4, 128, "n4096"));
  plans.push_back(make_plan(10, 16, 0, 128, "n8192"));
  plans.push_back(make_plan(5, 8, 3, 192, "n4096q48"));
  plans.push_back(make_plan(100, 12, 2, 192, "n8192q96"));
  plans.push_back(make_plan(3, 24, 1, 256, "n16384q192"));
  return plans;
}

}  // namespace veilsum::test
