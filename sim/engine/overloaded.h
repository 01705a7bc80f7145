// One visitor out of several lambdas, for std::visit over events and actions.

#ifndef CONSILIUM_SIM_ENGINE_OVERLOADED_H_
#define CONSILIUM_SIM_ENGINE_OVERLOADED_H_

namespace consilium {

template <typename... Fs>
struct Overloaded : Fs... {
  using Fs::operator()...;
};
template <typename... Fs>
Overloaded(Fs...) -> Overloaded<Fs...>;

}  // namespace consilium

#endif  // CONSILIUM_SIM_ENGINE_OVERLOADED_H_
