// The picture in the address: `image=ID` beside what is searched for.

/** The id of the picture that the address names; null without one. */
export const imageInAddress = () => new URL(location.href).searchParams.get("image");

/** This address with a picture, or (null) with none. */
export function addressWith(id) {
  const address = new URL(location.href);
  address.hash = "";
  if (id === null) address.searchParams.delete("image"); else address.searchParams.set("image", id);
  return address.href;
}
