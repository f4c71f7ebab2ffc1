// The picture in the address: `image=ID` beside what is searched for.

/** The id of the picture that the address names; null without one. */
export const imageInAddress = () => new URL(location.href).searchParams.get("image");

/** What is shown, in a word that is the same again when the same is shown: the address without an opened picture,
 * and the picture of one's own that is asked with. */
export const here = () => addressWith(null) + (history.state?.own ? ` with ${history.state.own}` : "");

/** This address with a picture, or (null) with none. */
export function addressWith(id) {
  const address = new URL(location.href);
  address.hash = "";
  if (id === null) address.searchParams.delete("image"); else address.searchParams.set("image", id);
  return address.href;
}
